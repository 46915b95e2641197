"""The use case: a sweep is begun, joined by another worker, or gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from launcher import machine, store
from launcher.attempt import StopRequest
from launcher.errors import RequestError
from launcher.sweep import board, devices, folder, storage
from launcher.sweep.board import Board
from launcher.sweep.folder import Sweep
from launcher.sweep.worker import Listener, Worker


def start(
    job_path: Path, sweep_path: Path, overrides: Sequence[str], *, runs_dir: Path, join: str | None, listener: Listener
) -> bool:
    """Begin a sweep, or as a further worker `join` one whose storage both reach. Whether all its trials are over.

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
    return _work(sweep, listener, board.join if join else board.create)


def resume(sweep_dir: Path, *, listener: Listener) -> bool:
    """Go on with a sweep, or help those that work on it. Whether all its trials are over."""
    return _work(folder.opened(sweep_dir), listener, board.create)


def _work(sweep: Sweep, listener: Listener, board_of: Callable[..., Board]) -> bool:
    devices.share(sweep.job_spec, machine.inspect(), sweep.spec.parallel)
    if sweep.spec.storage is None:
        folder.write(sweep)  # the journal lies in it
    with storage.opened(sweep) as kept:
        trials = board_of(kept, sweep)
        folder.write(sweep)
        stop = StopRequest()
        stop.install()
        listener({"event": "sweep", "id": sweep.id, "folder": str(sweep.folder), "trials": sweep.spec.count})
        return Worker(sweep, trials, listener, stop).work()
