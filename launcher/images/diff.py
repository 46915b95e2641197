"""Says how two images differ: which file of which layer, and in what."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from launcher.images import archive, build, engine
from launcher.images.archive import Image, Layer

SHOWN = 200  # bytes of context that a content difference is described by


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that two images do not have in common."""

    layer: int | None
    """Counted from 0, the lowest; None: the configuration."""
    path: str
    what: str

    def __str__(self) -> str:
        place = "configuration" if self.layer is None else f"layer {self.layer}"
        return f"{place}: {self.path}: {self.what}"


def named(*names: str) -> Iterator[Difference]:
    """Every difference of two images, each an archive's path or what the engine calls it."""
    with tempfile.TemporaryDirectory(dir=build.cache()) as folder:
        first, second = (
            archive.read(Path(name) if Path(name).exists() else _saved(name, Path(folder) / f"{number}.tar"))
            for number, name in enumerate(names)
        )
        yield from compare(first, second)


def compare(first: Image, second: Image) -> Iterator[Difference]:
    """Every difference of two images, lowest layer first; nothing for images with the same digests."""
    if len(first.layers) != len(second.layers):
        yield Difference(layer=None, path="layers", what=f"{len(first.layers)} against {len(second.layers)}")
    for number, (ours, theirs) in enumerate(zip(first.layers, second.layers, strict=False)):
        if ours != theirs:
            with archive.layer(first, ours) as before, archive.layer(second, theirs) as after:
                yield from _layer(number, before, after)
    yield from _settings("", _without_layers(first.config), _without_layers(second.config))


def _saved(name: str, target: Path) -> Path:
    return engine.save(engine.connect(), name, target)


def _layer(number: int, ours: Layer, theirs: Layer) -> Iterator[Difference]:
    told = False
    for path in sorted(ours.entries.keys() | theirs.entries.keys()):
        for what in _entry(path, ours, theirs):
            told = True
            yield Difference(layer=number, path=path, what=what)
    first, second = list(ours.entries), list(theirs.entries)
    if first != second and sorted(first) == sorted(second):
        moved = next(a for a, b in zip(first, second, strict=True) if a != b)
        yield Difference(layer=number, path=moved, what="the entries stand in another order, from this one on")
    elif not told:
        yield Difference(layer=number, path="(whole layer)", what="the same entries, packed or compressed differently")


def _entry(path: str, ours: Layer, theirs: Layer) -> Iterator[str]:
    before, after = ours.entries.get(path), theirs.entries.get(path)
    if before is None or after is None:
        yield "only in the second" if before is None else "only in the first"
        return
    for field, words in (("kind", "kind"), ("link", "link target"), ("owner", "owner"), ("time", "time")):
        if getattr(before, field) != getattr(after, field):
            yield f"{words} {getattr(before, field)} against {getattr(after, field)}"
    if before.mode != after.mode:
        yield f"mode {before.mode:o} against {after.mode:o}"
    if before.content != after.content:
        yield _content(path, ours.content(path), theirs.content(path))


def _content(path: str, ours: bytes, theirs: bytes) -> str:
    if path.endswith(".pyc") and (reason := _stale_bytecode(ours, theirs)):
        return reason
    if len(ours) != len(theirs):
        return f"content, {len(ours)} against {len(theirs)} bytes{_around(ours, theirs)}"
    if sorted(ours.splitlines()) == sorted(theirs.splitlines()):
        return "the same lines in another order"
    return f"content{_around(ours, theirs)}"


def _stale_bytecode(ours: bytes, theirs: bytes) -> str | None:
    """A .pyc begins with a magic number, flags, and by the flags the source's time or its hash."""
    if ours[:4] != theirs[:4]:
        return "bytecode of another Python"
    if ours[4:8] == b"\0\0\0\0" and ours[8:12] != theirs[8:12]:
        times = [int.from_bytes(data[8:12], "little") for data in (ours, theirs)]
        return f"bytecode that holds its source's time, {times[0]} against {times[1]}"
    return None


def _around(ours: bytes, theirs: bytes) -> str:
    place = next((i for i, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b), 0)
    begin = max(0, place - 20)
    shown = [repr(data[begin : begin + 60])[1:] for data in (ours, theirs)]
    return f", first at byte {place}: {shown[0]} against {shown[1]}"


def _settings(place: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _settings(f"{place}.{key}".lstrip("."), ours.get(key), theirs.get(key))
    elif ours != theirs:
        yield Difference(layer=None, path=place, what=f"{str(ours)[:SHOWN]} against {str(theirs)[:SHOWN]}")


def _without_layers(config: dict[str, Any]) -> dict[str, Any]:
    """The layers' digests follow from what is compared already."""
    return {key: value for key, value in config.items() if key != "rootfs"}
