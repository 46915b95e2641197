"""The checkpoint protocol on disk: whole or absent, verified, never overwritten.

A checkpoint is written into a folder under a temporary name and appears under its own, `step-<8 digits>`, by one
rename, when every byte of it is on the disk. Other names: `.tmp-…` is being written, `.gone-…` is being deleted,
`bad-…` was found damaged, `replaced-…` is a sound one that a later attempt wrote differently.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from launcher.errors import JobFailed
from launcher.manifest import CHUNK, MANIFEST, Damaged, FileDigest, Manifest, read, step_name, step_of, verify

Fence = Callable[[], None]
"""Raises Fenced when a newer attempt at the run has begun."""
Contents = Mapping[str, Sequence[memoryview]]
"""The bytes of each file of a checkpoint, in pieces."""

_ATTEMPT = "attempt"
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


class Fenced(JobFailed):
    """A newer attempt at the run has begun, so this one may not commit any more."""


class NoSpace(JobFailed):
    """The file system is too full for a checkpoint."""

    kind = "storage"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A damaged checkpoint that was found and set aside."""

    checkpoint: str
    file: str
    reason: str
    kept_as: str

    def __str__(self) -> str:
        return f"checkpoint {self.checkpoint} is damaged: {self.file}: {self.reason}; kept as {self.kept_as}"


Report = Callable[[Fault], None]


def folder(run_dir: Path) -> Path:
    """Where a run's checkpoints lie."""
    return run_dir / "checkpoints"


def claim(run_dir: Path, attempt: int) -> Fence:
    """Make `attempt` the one that may commit, clear away what older attempts left half done, and return its fence.

    Raises Fenced where a newer attempt has begun.
    """
    root = folder(run_dir)
    root.mkdir(mode=0o700, exist_ok=True)
    newest = _newest_attempt(run_dir)
    if newest is not None and newest > attempt:
        raise _fenced(run_dir, attempt)
    if newest != attempt:
        temporary = run_dir / f".{_ATTEMPT}-{attempt}"
        temporary.unlink(missing_ok=True)
        write(temporary, [memoryview(b"%d\n" % attempt)])
        temporary.rename(run_dir / _ATTEMPT)
    _sync_folder(run_dir)
    _clear_leftovers(root, attempt)

    def fence() -> None:
        if _newest_attempt(run_dir) != attempt:
            raise _fenced(run_dir, attempt)

    return fence


def names(root: Path) -> list[str]:
    """The checkpoints that stand under `root`, newest first, not verified."""
    try:
        found = [path.name for path in root.iterdir() if step_of(path.name) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: step_of(name) or 0, reverse=True)


def newest_verified(root: Path, report: Report = lambda fault: None) -> tuple[str, Manifest] | None:
    """The newest checkpoint every byte of which is as written; damaged ones are set aside and reported."""
    for name in names(root):
        if manifest := _sound(root, name, report):
            return name, manifest
    return None


def save(
    root: Path, manifest: Manifest, contents: Contents, *, fence: Fence, keep: int, known: set[str], report: Report
) -> Manifest:
    """Write, commit, read back, prune. When it returns, the checkpoint is on the disk and verified.

    `manifest` lacks its files yet. `known` holds the names of the checkpoints known to be sound, and grows. Raises
    NoSpace, Fenced, Damaged, or JobFailed where the file system fails; earlier checkpoints are then as they were.
    """
    try:
        _check_space(root, manifest.step, contents)
        temporary = begin(root, manifest.step, manifest.attempt)
        try:
            files = {name: write(temporary / name, pieces) for name, pieces in contents.items()}
            final = commit(temporary, dataclasses.replace(manifest, files=files), fence)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        committed = verify(final, from_disk=True)
        known.add(final.name)
        fence()
        prune(root, keep=keep, known=known, report=report)
    except OSError as error:
        fence()
        raise _not_saved(root, manifest.step, contents, error) from error
    return committed


def begin(root: Path, step: int, attempt: int) -> Path:
    """Make the temporary folder that a checkpoint is written into; nobody else's is ever taken for it."""
    name = f".tmp-{step_name(step)}-a{attempt}"
    for suffix in ["", *(f"-{number}" for number in range(1, 1000))]:
        try:
            (root / (name + suffix)).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return root / (name + suffix)
    raise OSError(errno.EEXIST, "too many unfinished checkpoints", str(root / name))


def write(path: Path, pieces: Sequence[memoryview]) -> FileDigest:
    """Write a new file, hashing the bytes as they go, and wait until they are on the disk."""
    digest, size = xxhash.xxh3_128(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for piece in pieces:
            for start in range(0, len(piece), CHUNK):
                block = piece[start : start + CHUNK]
                digest.update(block)
                size += len(block)
                while block:
                    block = block[os.write(descriptor, block) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return FileDigest(size=size, xxh3_128=digest.hexdigest())


def commit(temporary: Path, manifest: Manifest, fence: Fence) -> Path:
    """Give a written checkpoint its name, in one step, once all of it is on the disk.

    One of that name that stands already, from a replayed step, is kept if its files are the same and sound, else set
    aside. Raises Fenced when the attempt is no longer the newest.
    """
    root, final = temporary.parent, temporary.parent / manifest.name
    write(temporary / MANIFEST, [memoryview(manifest.to_bytes())])
    _sync_folder(temporary)
    fence()
    if not final.exists():
        temporary.rename(final)
    elif earlier := _sound(root, final.name, lambda fault: None):
        _settle(temporary, manifest, earlier)
    else:
        temporary.rename(final)
    _sync_folder(root)
    return final


def prune(root: Path, *, keep: int, known: Collection[str] = (), report: Report = lambda fault: None) -> list[str]:
    """Delete all but the newest `keep` sound checkpoints and the newest protected one; return the names deleted.

    Those in `known` count as sound; of the others as many are verified as are needed to keep that many.
    """
    if keep < 2:
        raise ValueError("keep at least two checkpoints: the newest may turn out to be damaged")
    doomed, kept, protected = [], 0, _newest_protected(root)
    for name in names(root):
        if kept < keep:
            kept += name in known or _sound(root, name, report) is not None
        elif name != protected:
            doomed.append(name)
    gone = [_rename_to_free(root, name, f".gone-{name}") for name in doomed]
    if gone:
        _sync_folder(root)  # else a power loss could leave half a folder under its own name
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return doomed


def _sound(root: Path, name: str, report: Report) -> Manifest | None:
    try:
        return verify(root / name)
    except Damaged as damage:
        kept_as = name
        with suppress(OSError):  # a failing disk may not let it be moved, yet let an older one be read
            kept_as = _rename_to_free(root, name, f"bad-{name}").name
            _sync_folder(root)
        report(Fault(checkpoint=name, file=damage.file, reason=damage.reason, kept_as=kept_as))
        return None


def _settle(temporary: Path, manifest: Manifest, earlier: Manifest) -> None:
    """Choose between a sound checkpoint that stands and the same step written again."""
    root, name = temporary.parent, manifest.name
    same = earlier.files == manifest.files
    if same and earlier.protected >= manifest.protected:
        return
    _exchange(temporary, root / name)
    if not same:
        _rename_to_free(root, temporary.name, f"replaced-{name}")


def _exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step; where the file system cannot, in three."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap and swap(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return
    if swap and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(first))
    aside = _rename_to_free(second.parent, second.name, f"replaced-{second.name}")
    first.rename(second)
    aside.rename(first)


def _rename_to_free(root: Path, name: str, wanted: str) -> Path:
    number = 1
    while (root / f"{wanted}-{number}").exists():
        number += 1
    return (root / name).rename(root / f"{wanted}-{number}")


def _newest_protected(root: Path) -> str | None:
    for name in names(root):
        try:
            if read(root / name).protected:
                return name
        except Damaged:
            continue
    return None


def _clear_leftovers(root: Path, attempt: int) -> None:
    for path in root.iterdir():
        unfinished = re.fullmatch(r"\.tmp-step-[0-9]+-a([0-9]+)(-[0-9]+)?", path.name)
        if path.name.startswith(".gone-") or (unfinished and int(unfinished[1]) < attempt):
            shutil.rmtree(path, ignore_errors=True)


def _newest_attempt(run_dir: Path) -> int | None:
    try:
        return int((run_dir / _ATTEMPT).read_text())
    except (FileNotFoundError, ValueError):
        return None


def _fenced(run_dir: Path, attempt: int) -> Fenced:
    return Fenced(f"attempt {attempt} may not save checkpoints any more: {run_dir / _ATTEMPT} names another")


def _check_space(root: Path, step: int, contents: Contents) -> None:
    if _size(contents) > _free(root):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root / step_name(step)))


def _not_saved(root: Path, step: int, contents: Contents, error: OSError) -> JobFailed:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return JobFailed(f"the checkpoint of step {step} could not be saved: {error}")
    return NoSpace(
        f"no space left in {root}: a checkpoint needs {_size(contents):,} bytes, {_free(root):,} are free",
        hint="free some space, or keep fewer checkpoints with --set checkpoint.keep=2, then launcher resume",
    )


def _size(contents: Contents) -> int:
    return sum(len(piece) for pieces in contents.values() for piece in pieces)


def _free(root: Path) -> int:
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
