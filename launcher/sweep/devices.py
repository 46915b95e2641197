"""A trial's share of this machine: GPUs and cores that no other trial of any sweep has until its process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import machine, processes
from launcher.errors import EnvironmentUnfit, counted
from launcher.plan import Machine
from launcher.spec import JobSpec
from launcher.store import RunFolder

TICK = 0.2
LONGEST_PATH = 4096


@dataclass(frozen=True, kw_only=True)
class Share:
    gpus: int
    cores: int


def share(spec: JobSpec, here: Machine, parallel: int) -> Share | None:
    """What each of so many trials at a time gets; None where they run elsewhere. Raises EnvironmentUnfit."""
    if spec.backend != "local":
        return None
    cores = here.cores // parallel
    if cores < 1:
        raise EnvironmentUnfit(
            f"parallel: {parallel} trials at a time have no core each; this machine has {here.cores}",
            hint=f"write parallel: {here.cores} or less",
        )
    given = Share(gpus=_gpus(spec, here, parallel), cores=cores)
    _refuse_threads_beyond(given, spec, here, parallel)
    return given


def _refuse_threads_beyond(given: Share, spec: JobSpec, here: Machine, parallel: int) -> None:
    """A job that says how many threads it has must find a core for each in its share."""
    threads = spec.local.threads
    each = 0 if threads == "auto" else threads * _procs(spec, given) * spec.resources.most_nodes
    if parallel > 1 and each > given.cores:
        raise EnvironmentUnfit(
            f"parallel: {parallel} trials of {counted(each, 'thread')} want {each * parallel} cores, and here are"
            f" {here.cores}",
            hint=f"write parallel: {max(1, here.cores // each)}, or --set local.threads=auto",
        )


def _procs(spec: JobSpec, given: Share) -> int:
    asked = spec.resources.procs_per_node
    return max(1, given.gpus // spec.resources.most_nodes) if asked == "auto" else asked


def _gpus(spec: JobSpec, here: Machine, parallel: int) -> int:
    nodes, asked = spec.resources.most_nodes, spec.resources.procs_per_node
    if spec.resources.device == "cpu" or here.gpus == 0:
        return 0
    each = nodes * (max(1, here.gpus // parallel // nodes) if asked == "auto" else asked)
    if each > here.gpus:
        return 0  # the plan takes the cpu, or says why it cannot
    if each * parallel > here.gpus:
        raise EnvironmentUnfit(
            f"parallel: {parallel} trials of {counted(each, 'GPU')} want {each * parallel}, and here are {here.gpus}",
            hint=f"write parallel: {here.gpus // each}, or --set resources.device=cpu",
        )
    return each


def settings(spec: JobSpec, given: Share | None, parallel: int) -> list[str]:
    """What a trial has to be told of its share, so that it can be repeated alone."""
    if given is None or parallel == 1:
        return []
    found, procs = [], _procs(spec, given)
    if spec.resources.procs_per_node == "auto":
        found.append(f"resources.procs_per_node={procs}")
    if spec.local.threads == "auto":
        found.append(f"local.threads={max(1, given.cores // (procs * spec.resources.most_nodes))}")
    return found


def take(given: Share, run_dir: Path) -> None:
    """Wait for a share that is free and hold it for as long as this process lives; confine this process to it."""
    folder = _folder()
    cores, granted = sorted(os.sched_getaffinity(0)), machine.inspect().cores
    names = list(map(str, cores[:granted]))
    gpus = machine.gpu_names() if given.gpus else []
    while True:
        with _alone(folder):
            held = _held(folder, "gpu", gpus, given.gpus), _held(folder, "core", names, given.cores)
            if None not in held:
                break
            for locks in held:
                _let_go(locks or {})
        time.sleep(TICK)
    for descriptor in (descriptor for locks in held for descriptor in (locks or {}).values()):
        _end_last_holder(descriptor, run_dir)
    if given.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held[0] or {})
    if granted == len(cores):  # under a quota of time the cores are others' as well, and the kernel spreads them better
        os.sched_setaffinity(0, map(int, held[1] or {}))


def _folder() -> Path:
    """Where the locks are: one place for all of a user's sweeps on the machine."""
    path = Path(tempfile.gettempdir(), f"launcher-devices-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EnvironmentUnfit(f"{path} is not a folder of yours", hint="TMPDIR=DIR puts it elsewhere")
    return path


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While one process chooses, no other does: two with half a share each would wait for ever."""
    descriptor = os.open(folder / "choosing", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _held(folder: Path, kind: str, names: Sequence[str], wanted: int) -> dict[str, int] | None:
    """The locks of so many devices, by name; None where not so many are free."""
    held: dict[str, int] = {}
    for name in names:
        if len(held) == wanted:
            break
        descriptor = os.open(folder / f"{kind}-{name.replace('/', '_')}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held[name] = descriptor
        except BlockingIOError:
            os.close(descriptor)
    if len(held) == wanted:
        return held
    _let_go(held)
    return None


def _let_go(held: dict[str, int]) -> None:
    for descriptor in held.values():
        os.close(descriptor)


def _end_last_holder(descriptor: int, run_dir: Path) -> None:
    """A launcher that was killed may be outlived by its ranks for a moment: they end before the device is used."""
    last = Path(os.pread(descriptor, LONGEST_PATH, 0).decode(errors="replace"))
    if last.name and last != run_dir and RunFolder(last).holder() is None:
        processes.end_marked(last.name)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, os.fsencode(run_dir), 0)
