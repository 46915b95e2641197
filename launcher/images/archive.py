"""Reads an image archive (an OCI layout in a tar file): its digests, its configuration, the entries of its layers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from launcher.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file, folder or link of a layer; `content` is the sha256 of a file's bytes."""

    member: tarfile.TarInfo
    kind: str
    mode: int
    owner: tuple[int, int]
    time: float
    link: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image as an archive holds it."""

    path: Path
    digest: str
    """Of the manifest: what a registry and the containerd image store call the image."""
    config_digest: str
    """Of the configuration: the image ID of other engines; the same whatever the compression."""
    config: dict[str, Any]
    layers: tuple[str, ...]
    """The layers' blobs, lowest first."""
    size: int
    """Compressed size of all layers in bytes."""


def read(path: Path) -> Image:
    """Open an archive and check that its blobs are what their names say. RequestError if it is no image."""
    try:
        with tarfile.open(path) as outer:
            index = json.loads(_blob(outer, "index.json"))
            digest = index["manifests"][0]["digest"]
            manifest = json.loads(_blob(outer, _name(digest)))
            config = _blob(outer, _name(manifest["config"]["digest"]))
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise RequestError(
            f"{path} is not an image archive: {error}", hint="make one: launcher images build cpu"
        ) from None
    config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    if config_digest != manifest["config"]["digest"]:
        raise RequestError(f"{path} is damaged: its configuration is not what its manifest says")
    return Image(
        path=path,
        digest=digest,
        config_digest=config_digest,
        config=json.loads(config),
        layers=tuple(layer["digest"] for layer in manifest["layers"]),
        size=sum(layer["size"] for layer in manifest["layers"]),
    )


class Layer:
    """An open layer: its entries, and the bytes of a file when they are wanted."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.entries = {member.name.removeprefix("./"): self._entry(member) for member in tar}
        """By path, in the order in which they stand."""

    def content(self, path: str) -> bytes:
        file = self._tar.extractfile(self.entries[path].member)
        return file.read() if file else b""

    def _entry(self, member: tarfile.TarInfo) -> Entry:
        file = cast("io.BufferedReader | None", self._tar.extractfile(member)) if member.isreg() else None
        return Entry(
            member=member,
            kind=_KINDS.get(member.type, "other"),
            mode=member.mode,
            owner=(member.uid, member.gid),
            time=float(member.mtime),
            link=member.linkname,
            content=hashlib.file_digest(file, "sha256").hexdigest() if file else "",
        )


@contextlib.contextmanager
def layer(image: Image, digest: str) -> Iterator[Layer]:
    """Open one layer of an image."""
    with tarfile.open(image.path) as outer:
        blob = outer.extractfile(_name(digest))
        if blob is None:
            raise KeyError(digest)
        with tarfile.open(fileobj=blob, mode="r:*") as inner:
            yield Layer(inner)


_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hard link",
}


def _blob(outer: tarfile.TarFile, name: str) -> bytes:
    file: IO[bytes] | None = outer.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
