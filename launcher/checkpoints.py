"""The checkpoint protocol on disk: whole or absent, verified, never overwritten.

A checkpoint is written into a folder under a temporary name and appears under its own, `step-<8 digits>`, by one
rename, when every byte of it is on the disk. Other names: `.tmp-…` is being written, `.gone-…` is being deleted,
`bad-…` was found damaged, `replaced-…` is a sound one that a later attempt wrote differently.
"""

from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from launcher import durable, readback
from launcher.errors import EnvironmentUnfit, JobFailed
from launcher.manifest import (
    MANIFEST,
    Damaged,
    FileDigest,
    Manifest,
    check,
    lost_data_is_damage,
    read,
    step_name,
    step_of,
    verify,
)

Fence = Callable[[], None]
"""Raises Fenced when a newer attempt at the run has begun."""
Contents = Mapping[str, Sequence[memoryview]]
"""The bytes of each file of a checkpoint, in pieces."""


@dataclass(frozen=True, kw_only=True)
class Others:
    """Other processes that write files of the same checkpoint."""

    size: int = 0
    """Bytes of their files."""
    writing: Callable[[Path], AbstractContextManager[Mapping[str, FileDigest]]] = lambda folder: nullcontext({})
    """They write into the folder while it is entered; what it gives holds their files when it is left."""


ALONE = Others()

_ATTEMPT = "attempt"
_LONGEST_ATTEMPT = 20


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

    Raises Fenced where a newer attempt has begun, EnvironmentUnfit where the folder cannot be written.
    """

    def fence() -> None:
        if _newest_attempt(run_dir) != attempt:
            raise Fenced(f"attempt {attempt} may not save checkpoints any more: {run_dir / _ATTEMPT} names another")

    root = folder(run_dir)
    with _unfit(f"{root} cannot be used for checkpoints"):
        root.mkdir(mode=0o700, exist_ok=True)
        if (_newest_attempt(run_dir) or 0) < attempt:
            durable.replace(run_dir / _ATTEMPT, b"%d\n" % attempt)
        fence()
        durable.sync_folder(run_dir)
        _clear_leftovers(root, attempt)
    return fence


def names(root: Path) -> list[str]:
    """The checkpoints that stand under `root`, newest first, not verified."""
    try:
        found = [path.name for path in root.iterdir() if step_of(path.name) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: step_of(name) or 0, reverse=True)


def newest_verified(root: Path, report: Report = lambda fault: None) -> tuple[str, Manifest] | None:
    """The newest checkpoint every byte of which is as written; damaged ones are set aside and reported.

    Raises EnvironmentUnfit where the folder cannot be read.
    """
    with _unfit(f"the checkpoints in {root} cannot be read"):
        for name in names(root):
            if manifest := _sound(root / name, report):
                return name, manifest
    return None


def save(
    root: Path,
    manifest: Manifest,
    contents: Contents,
    *,
    fence: Fence,
    keep: int,
    known: set[str],
    report: Report,
    others: Others = ALONE,
) -> Manifest:
    """Write, commit, read back, prune. When it returns, the checkpoint is on the disk and verified.

    `manifest` lacks its files yet. `known` holds the names of the checkpoints known to be sound, and grows. Raises
    NoSpace, Fenced, Damaged, or JobFailed where the file system fails; earlier checkpoints are then as they were.
    """
    needed = size(contents) + others.size
    try:
        if needed > _free(root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))
        temporary = begin(root, manifest.step, manifest.attempt)
        try:
            with others.writing(temporary) as theirs:
                files = {name: durable.write(temporary / name, pieces) for name, pieces in contents.items()}
            final = commit(temporary, dataclasses.replace(manifest, files={**files, **theirs}), fence)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        committed = verify(final, from_disk=True)
        known.add(final.name)
        fence()
        prune(root, keep=keep, spare=final.name, known=known, report=report)
    except OSError as error:
        with suppress(OSError):
            fence()  # a successor clears our folder away: then that is what happened
        raise _not_saved(root, manifest.step, needed, error) from error
    return committed


def copy(source: Path, root: Path) -> Manifest:
    """Put a copy of another run's checkpoint under `root`; raises Damaged where its bytes are not what was written."""
    manifest = read(source)
    root.mkdir(mode=0o700, exist_ok=True)
    temporary = begin(root, manifest.step, manifest.attempt)
    for name, expected in manifest.files.items():
        with lost_data_is_damage(source.name, name), readback.opened(source / name) as file:
            pieces = [memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))] if expected.size else []
        check(source.name, name, expected, durable.write(temporary / name, pieces))
    commit(temporary, manifest, fence=lambda: None)
    return manifest


def size(contents: Contents) -> int:
    """In bytes."""
    return sum(len(piece) for pieces in contents.values() for piece in pieces)


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


def commit(temporary: Path, manifest: Manifest, fence: Fence) -> Path:
    """Give a written checkpoint its name, in one step, once all of it is on the disk.

    One of that name that stands already, from a replayed step, is kept if its files are the same and sound, else set
    aside. Raises Fenced when the attempt is no longer the newest.
    """
    final = temporary.with_name(manifest.name)
    durable.write(temporary / MANIFEST, [memoryview(manifest.to_bytes())])
    durable.sync_folder(temporary)
    fence()
    if final.exists() and (earlier := _sound(final, lambda fault: None)):
        _settle(temporary, manifest, final, earlier)
    else:
        temporary.rename(final)
    durable.sync_folder(final.parent)
    return final


def prune(
    root: Path, *, keep: int, spare: str = "", known: Collection[str] = (), report: Report = lambda fault: None
) -> list[str]:
    """Delete all but the newest `keep` sound checkpoints, the newest protected one and `spare`; return what is gone.

    Those in `known` count as sound; of the others as many are verified as are needed to keep that many.
    """
    if keep < 2:
        raise ValueError("keep at least two checkpoints: the newest may turn out to be damaged")
    doomed, kept, spared = [], 0, (spare, _newest_protected(root))
    for name in names(root):
        if kept < keep:
            kept += name in known or _sound(root / name, report) is not None
        elif name not in spared:
            doomed.append(name)
    gone = [durable.rename_to_free(root / name, f".gone-{name}") for name in doomed]
    if gone:
        durable.sync_folder(root)  # else a power loss could leave half a folder under its own name
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return doomed


def _sound(path: Path, report: Report) -> Manifest | None:
    """The manifest of a checkpoint that verifies; one that does not is set aside."""
    try:
        return verify(path)
    except Damaged as damage:
        kept_as = path.name
        with suppress(OSError):  # a failing disk may not let it be moved, yet let an older one be read
            kept_as = durable.rename_to_free(path, f"bad-{path.name}").name
            durable.sync_folder(path.parent)
        report(Fault(checkpoint=path.name, file=damage.file, reason=damage.reason, kept_as=kept_as))
        return None


def _settle(temporary: Path, manifest: Manifest, final: Path, earlier: Manifest) -> None:
    """Choose between a sound checkpoint that stands and the same step written again."""
    same = earlier.files == manifest.files
    if same and earlier.protected >= manifest.protected:
        return
    moved = durable.exchange(temporary, final)
    if moved is None and not same:
        durable.rename_to_free(temporary, f"replaced-{final.name}")


def _newest_protected(root: Path) -> str | None:
    for name in names(root):
        with suppress(Damaged):
            if read(root / name).protected:
                return name
    return None


def _clear_leftovers(root: Path, attempt: int) -> None:
    for path in root.iterdir():
        unfinished = re.fullmatch(r"\.tmp-step-[0-9]+-a([0-9]+)(-[0-9]+)?", path.name)
        if path.name.startswith(".gone-") or (unfinished and int(unfinished[1]) < attempt):
            shutil.rmtree(path, ignore_errors=True)


def _newest_attempt(run_dir: Path) -> int | None:
    try:
        with readback.opened(run_dir / _ATTEMPT) as file:
            return int(file.read(_LONGEST_ATTEMPT))
    except (FileNotFoundError, ValueError):
        return None


def _not_saved(root: Path, step: int, needed: int, error: OSError) -> JobFailed:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return JobFailed(f"the checkpoint of step {step} could not be saved: {error}")
    free = "fewer"
    with suppress(OSError):
        free = f"{_free(root):,}"
    return NoSpace(
        f"no space left in {root}: a checkpoint needs {needed:,} bytes, {free} are free",
        hint="free some space, or keep fewer checkpoints with --set checkpoint.keep=2, then launcher resume",
    )


def _free(root: Path) -> int:
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize


@contextmanager
def _unfit(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentUnfit(f"{what}: {error}", hint="see that the disk is well and the folder yours") from error
