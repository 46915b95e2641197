"""`launcher stop`: whoever watches a run is asked to save and end it, and in the end is ended itself."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from launcher import backends, lock, store, submitted, waiting
from launcher.errors import RequestError
from launcher.lock import Holder
from launcher.store import RunFolder, RunRecord

PATIENCE = 15.0
"""Seconds that a launcher gets after it was asked a second time, and to vanish when it is killed."""


def stop(run_dir: Path, *, timeout: float) -> RunRecord:
    """Ask a run to save and end; after `timeout` seconds make it end. Returns its record afterwards."""
    folder = RunFolder(run_dir)
    known = folder.read_submission()
    queue = backends.named(known["backend"]).queue if known else None
    if known and queue and queue.state(known["job"]):
        return submitted.end(folder, queue, known["job"], timeout)
    holder = folder.holder()
    if holder is None:
        record = store.record(run_dir)
        raise RequestError(f"{run_dir.name}: not running ({record.state})", hint="`launcher runs` shows which are")
    pid = _process(folder, holder)
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # one that was suspended hears the other signal only when it goes on
        if waiting.until(lambda: folder.holder() is None, patience):
            break
    return store.record(run_dir)


def _process(folder: RunFolder, holder: Holder) -> int:
    """The number of the process that watches the run. Raises RequestError where it means another process here."""
    run = folder.path.name
    if holder.pid is None:
        raise RequestError(
            f"{folder.lock}: does not say which process watches the run",
            hint=f"`fuser {folder.lock}` names it; it saves and ends on SIGTERM",
        )
    if holder.boot != lock.boot_id():
        raise RequestError(
            f"{run}: watched on {holder.host}, not on this machine", hint=f"ssh {holder.host} launcher stop {run}"
        )
    if holder.pid_space not in (None, lock.pid_space()):
        raise RequestError(
            f"{run}: watched in another container, {holder.host}, whose processes have other numbers here",
            hint=f"launcher stop {run}, typed in that container",
        )
    return holder.pid
