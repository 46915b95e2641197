"""The manifest of a checkpoint: which files its folder holds, byte for byte, and the check that it does."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import mmap
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from launcher.errors import JobFailed

MANIFEST = "manifest.json"
FORMAT = 1
CHUNK = 1 << 20
"""Bytes read at once, and hashed while the processor's cache still holds them."""
BLOCK = 1 << 23
"""Bytes written, or read past the system's cache, at once; smaller files do not go past it."""

_OPENING, _CLOSING, _DIGEST_LENGTH = b'{"xxh3_128": "', b'",', 32
_LARGEST_MANIFEST = 1 << 24
_LOST_DATA = {
    errno.EIO,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
    errno.EBADMSG,
    errno.EUCLEAN,
    errno.ESTALE,
}


class Damaged(JobFailed):
    """A checkpoint is not what its manifest says; `file` and `reason` say where and how."""

    def __init__(self, checkpoint: str, file: str, reason: str) -> None:
        super().__init__(f"checkpoint {checkpoint} is damaged: {file}: {reason}")
        self.checkpoint = checkpoint
        self.file = file
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """Size in bytes and XXH3-128 digest (hexadecimal) of one file."""

    size: int
    xxh3_128: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint is and what it holds.

    Its file is JSON whose first line carries the digest of all the bytes after it, so that it is checked before it is
    parsed and a flipped bit in the manifest itself is found too.
    """

    step: int
    epoch: int
    attempt: int
    world_size: int
    spec: str
    """SHA-256 of the job's specification in canonical JSON."""
    created: str
    """UTC, ISO 8601."""
    protected: bool = False
    """Whether it was the best one when it was saved; the newest protected one outlives the pruning."""
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def name(self) -> str:
        return step_name(self.step)

    def to_bytes(self) -> bytes:
        body = json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1).encode()[1:]
        return _OPENING + _digest(body) + _CLOSING + body

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Raises ValueError where the bytes are not exactly what `to_bytes` writes."""
        start = len(_OPENING) + _DIGEST_LENGTH + len(_CLOSING)
        body = raw[start:]
        if raw[:start] != _OPENING + _digest(body) + _CLOSING:
            raise ValueError("its bytes do not match its own digest")
        return cls._from_json(json.loads(b"{" + body))

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Manifest:
        if data.get("format") != FORMAT:
            raise ValueError(f"format {data.get('format')} is not {FORMAT}, the one this version reads")
        try:
            files = {name: FileDigest(**digest) for name, digest in data.pop("files").items()}
            return cls(**data, files=files)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"its fields are not those of a manifest: {error}") from error


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """The step a folder's name promises; None for a name that no checkpoint has."""
    match = re.fullmatch(r"step-([0-9]{8,})", name)
    return int(match[1]) if match else None


def read(folder: Path) -> Manifest:
    """The manifest alone, checked against its own digest and the folder's name; raises Damaged."""
    with lost_data_is_damage(folder.name, MANIFEST), _opened(folder / MANIFEST) as descriptor:
        if os.fstat(descriptor).st_size > _LARGEST_MANIFEST:
            raise Damaged(folder.name, MANIFEST, f"larger than {_LARGEST_MANIFEST} bytes")
        raw = b"".join(iter(lambda: os.read(descriptor, CHUNK), b""))
    try:
        manifest = Manifest.from_bytes(raw)
    except ValueError as error:
        raise Damaged(folder.name, MANIFEST, str(error)) from error
    if manifest.step != step_of(folder.name):
        raise Damaged(folder.name, MANIFEST, f"it belongs to step {manifest.step}")
    return manifest


def verify(folder: Path, *, from_disk: bool = False) -> Manifest:
    """Read every byte of a checkpoint and compare; raises Damaged at the first file that differs.

    With `from_disk` the cached pages are dropped first, so that what is read is what the storage kept.
    """
    manifest = read(folder)
    with lost_data_is_damage(folder.name, "folder"):
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(present ^ set(manifest.files)):
        raise Damaged(folder.name, name, "not in the manifest" if name in present else "missing")
    for name, expected in manifest.files.items():
        with lost_data_is_damage(folder.name, name):
            check(folder.name, name, expected, digest_of(folder / name, from_disk=from_disk))
    return manifest


def check(checkpoint: str, file: str, expected: FileDigest, found: FileDigest) -> None:
    """Raises Damaged where the two differ."""
    if found.size != expected.size:
        raise Damaged(checkpoint, file, f"{found.size} bytes where the manifest has {expected.size}")
    if found != expected:
        raise Damaged(checkpoint, file, "its bytes do not match the manifest's digest")


def digest_of(path: Path, *, from_disk: bool = False) -> FileDigest:
    digest, size = xxhash.xxh3_128(), 0
    with _opened(path) as descriptor:
        if from_disk and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        past_cache = from_disk and os.fstat(descriptor).st_size >= BLOCK
        if past_cache:
            set_direct(descriptor, True)
        block = memoryview(mmap.mmap(-1, BLOCK if past_cache else CHUNK))
        while count := _read_some(descriptor, block):
            digest.update(block[:count])
            size += count
    return FileDigest(size=size, xxh3_128=digest.hexdigest())


def set_direct(descriptor: int, wanted: bool) -> None:
    """Let reads and writes go past the system's cache, or not, where the file system leaves the choice."""
    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | direct if wanted else flags & ~direct)


def _read_some(descriptor: int, block: memoryview) -> int:
    try:
        return os.readv(descriptor, [block])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    set_direct(descriptor, False)  # some file systems take the flag and then refuse the read
    return os.readv(descriptor, [block])


def _digest(body: bytes) -> bytes:
    return xxhash.xxh3_128_hexdigest(body).encode()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a planted pipe must not hold us up
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def lost_data_is_damage(checkpoint: str, file: str) -> Iterator[None]:
    """What a failing disk or a missing file does to a reader becomes Damaged; lacking permission, say, does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in _LOST_DATA:
            raise
        raise Damaged(checkpoint, file, "missing" if error.errno == errno.ENOENT else str(error.strerror)) from error
