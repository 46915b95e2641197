"""Reads a tensor file into memory of one's own, and compares the very bytes that were read with the manifest.

Each tensor begins where torch would let it begin: the alignment can change the bits of a matrix product.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import xxhash
from torch import Tensor

from launcher.manifest import CHUNK, Damaged, FileDigest, check, digest_of, lost_data_is_damage
from launcher.worker import memory, tensors

ALIGNMENT = 64
TOGETHER = 256
"""Small tensors read by one call."""


def owned(folder: Path, file: str, expected: FileDigest | None) -> dict[str, Tensor]:
    """A file's tensors, on the CPU; raises Damaged, or ValueError for a sound file that is no tensor file."""
    if expected is None:
        raise Damaged(folder.name, file, "not in the manifest")
    with lost_data_is_damage(folder.name, file), (folder / file).open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size != expected.size:
            check(folder.name, file, expected, FileDigest(size=size, xxh3_128=""))
        try:
            header, layout = _header(opened.fileno(), size)
        except ValueError:
            check(folder.name, file, expected, digest_of(folder / file))
            raise
        found = _places(layout)
        digest = xxhash.xxh3_128(header)
        read = len(header) + _read(opened.fileno(), len(header), [place for _, place in found], digest)
    check(folder.name, file, expected, FileDigest(size=read, xxh3_128=digest.hexdigest()))
    stored = {slot.name: place.view(slot.dtype).view(slot.shape) for slot, place in found}
    return stored | {name: stored[owner] for name, owner in layout.aliases.items()}


def _header(descriptor: int, size: int) -> tuple[bytes, tensors.Layout]:
    """The file's first bytes and what they say; ValueError where that is not what fills the rest of it."""
    length = tensors.header_length(os.pread(descriptor, tensors.LENGTH, 0), size)
    header = os.pread(descriptor, length, 0)
    layout = tensors.Layout.parse(header)
    begins = [slot.start for slot in layout.slots]
    ends = [0, *(slot.stop for slot in layout.slots)]
    if [*begins, size - length] != ends:
        raise ValueError("the tensors do not lie one behind the other")
    return header, layout


def _places(layout: tensors.Layout) -> list[tuple[tensors.Slot, Tensor]]:
    """Memory (uint8) for each tensor, all of it in one piece."""
    steps = [-(-slot.bytes // ALIGNMENT) * ALIGNMENT for slot in layout.slots]
    whole = memory.pages(sum(steps))
    begins = itertools.accumulate(steps, initial=0)
    return [(slot, whole[begin : begin + slot.bytes]) for slot, begin in zip(layout.slots, begins, strict=False)]


def _read(descriptor: int, offset: int, places: Sequence[Tensor], digest: xxhash.xxh3_128) -> int:
    """Fill the places from the file, in order; how many bytes there were."""
    done = 0
    for pieces in _together(places):
        wanted = sum(len(piece) for piece in pieces)
        count = _fill(descriptor, pieces, offset + done)
        done += count
        if count < wanted:  # at its end: it was cut short meanwhile
            break
        for piece in pieces:
            digest.update(piece)
    return done


def _fill(descriptor: int, pieces: Sequence[memoryview], offset: int) -> int:
    """How many bytes there were; a file system may give fewer at a time than it has."""
    done, rest = 0, list(pieces)
    while rest and (count := os.preadv(descriptor, rest, offset + done)):
        done += count
        while rest and count >= len(rest[0]):
            count -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][count:]
    return done


def _together(places: Sequence[Tensor]) -> Iterator[list[memoryview]]:
    """Few enough bytes at a time for the processor's cache, few enough pieces for one call."""
    pieces: list[memoryview] = []
    for place in places:
        whole = place.numpy().data
        for begin in range(0, len(whole), CHUNK):
            pieces.append(whole[begin : begin + CHUNK])
            if len(pieces) == TOGETHER or sum(map(len, pieces)) >= CHUNK:
                yield pieces
                pieces = []
    if pieces:
        yield pieces
