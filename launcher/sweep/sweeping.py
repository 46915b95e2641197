"""The use case: a sweep is begun, joined by another worker, gone on with, or stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from launcher import detaching, machine, stopping, store
from launcher.attempt import StopRequest
from launcher.errors import RequestError
from launcher.lock import Holder
from launcher.sweep import board, devices, folder, storage
from launcher.sweep.board import Board
from launcher.sweep.folder import Sweep
from launcher.sweep.worker import Listener, Worker


def start(
    job_path: Path,
    sweep_path: Path,
    overrides: Sequence[str],
    *,
    runs_dir: Path,
    join: str | None,
    detach: bool = False,
    listener: Listener,
) -> bool | None:
    """Begin a sweep, or as a further worker `join` one whose storage both reach. Whether all its trials are over; None
    where with `detach` a worker in the background goes on.

    Raises LauncherError before anything is written.
    """
    if join is not None and not store.RUN_ID.fullmatch(join):
        raise RequestError(
            f"--join {join}: not the id of a sweep", hint="give the id that the first worker printed, in full"
        )
    sweep = folder.read(job_path, sweep_path, overrides, runs_dir, join)
    if join is not None and sweep.spec.storage is None:
        raise RequestError(
            f"--join {join}: the sweep file names no storage in which its workers could meet", hint=sweep.resume_command
        )
    return _work(sweep, board.join if join else board.create, detach, listener)


def resume(sweep_dir: Path, *, detach: bool = False, listener: Listener) -> bool | None:
    """Go on with a sweep, or help those that work on it. Answers as `start` does."""
    return _work(folder.opened(sweep_dir), board.create, detach, listener)


def stop(sweep_dir: Path, *, timeout: float) -> list[Holder]:
    """Ask the sweep's workers on this machine to save and end; after `timeout` seconds make them end.

    Returns those that go on elsewhere. Raises RequestError where none is here.
    """
    workers = folder.workers(sweep_dir)
    here = {path: holder for path, holder in workers.items() if stopping.is_here(holder)}
    command = f"launcher sweep stop {sweep_dir.name}"
    if not workers:
        raise RequestError(
            f"{sweep_dir.name}: nobody works on it", hint="`launcher sweep list` shows which sweeps are under way"
        )
    stopping.end(here or workers, command, timeout=timeout)
    return [holder for path, holder in workers.items() if path not in here]


def _work(sweep: Sweep, board_of: Callable[..., Board], detach: bool, listener: Listener) -> bool | None:
    devices.share(sweep.job_spec, machine.inspect(), sweep.spec.parallel)
    if sweep.spec.storage is None:
        folder.write(sweep)  # the journal lies in it
    with storage.opened(sweep) as kept:
        trials = board_of(kept, sweep)
        folder.write(sweep)
        listener({"event": "sweep", "id": sweep.id, "folder": str(sweep.folder), "trials": sweep.spec.count})
        if not detach or board.all_over(trials.trials()):
            asked = StopRequest()
            asked.install()
            return Worker(sweep, trials, listener, asked).work()
        return _detached(sweep, trials)


def _detached(sweep: Sweep, trials: Board) -> bool | None:
    """Let a worker of its own session go on, and return once it has begun."""
    detaching.begin(
        ["sweep", "resume", sweep.id, "--runs-dir", str(sweep.runs_dir)],
        log=sweep.log,
        begun=lambda pid: _works(sweep, pid) or board.all_over(trials.trials()),
    )
    return True if board.all_over(trials.trials()) else None


def _works(sweep: Sweep, pid: int) -> bool:
    return pid in [worker.pid for worker in folder.workers(sweep.folder).values()]
