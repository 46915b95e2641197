"""File operations that last: when one of these returns, the storage holds what it did."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import xxhash

from launcher.manifest import BLOCK, FileDigest, set_direct

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


def write(path: Path, pieces: Sequence[memoryview]) -> FileDigest:
    """Write a new file, for its owner only, hashing the bytes as they go; FileExistsError where there is one.

    Large pieces go past the system's cache where the file system allows it: a copy less to make beside the training,
    and the data set's cached pages stay.
    """
    digest, size = xxhash.xxh3_128(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if any(len(piece) >= BLOCK for piece in pieces):
            set_direct(descriptor, True)
        for piece in pieces:
            for start in range(0, len(piece), BLOCK):
                block = piece[start : start + BLOCK]
                digest.update(block)
                size += len(block)
                while block:
                    block = block[_write_some(descriptor, block) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return FileDigest(size=size, xxh3_128=digest.hexdigest())


def replace(path: Path, data: bytes) -> None:
    """Write a file that is at every moment either as it was or as it is to be."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    write(temporary, [memoryview(data)])
    temporary.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last: those that were added, changed and removed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> Path | None:
    """Swap two folders of one parent in one step; `sync_folder` makes it last.

    Where the file system cannot, `first` takes the place of `second`, and the path to which that was moved is returned.
    """
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap and swap(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return None
    if swap and (number := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), str(first))
    aside = rename_to_free(second, f"replaced-{second.name}")
    first.rename(second)
    return aside


def rename_to_free(path: Path, wanted: str) -> Path:
    """Rename within the folder to `<wanted>-<n>`, with the smallest n from 1 that is free."""
    number = 1
    while os.path.lexists(path.with_name(f"{wanted}-{number}")):
        number += 1
    return path.rename(path.with_name(f"{wanted}-{number}"))


def _write_some(descriptor: int, block: memoryview) -> int:
    try:
        return os.write(descriptor, block)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    set_direct(descriptor, False)  # the last block is no whole number of sectors, or the memory is not aligned
    return os.write(descriptor, block)
