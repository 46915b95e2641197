"""`launcher stop`: whoever watches a run is asked to save and end it, and in the end is ended itself."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
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
    end({folder.lock: holder}, f"launcher stop {run_dir.name}", timeout=timeout)
    return store.record(run_dir)


def end(holders: Mapping[Path, Holder], command: str, *, timeout: float) -> None:
    """Ask those who hold these locks to save and end, all at once; after `timeout` seconds make them end.

    `command` is what to type where they are. Raises RequestError, and asks nobody, where one is not on this machine.
    """
    pids = {path: _process(path, holder, command) for path, holder in holders.items()}
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        for path, pid in pids.items():
            if lock.holder(path) is not None:
                _signal(pid, number)
        if waiting.until(lambda: not any(map(lock.holder, pids)), patience):
            break


def is_here(holder: Holder) -> bool:
    """Whether the number of its process is one of this machine, and of this container."""
    return holder.boot == lock.boot_id() and holder.pid_space in (None, lock.pid_space())


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # one that was suspended hears the other signal only when it goes on


def _process(path: Path, holder: Holder, command: str) -> int:
    """The number of the process that holds a lock. Raises RequestError where it means another process here."""
    if holder.pid is None:
        raise RequestError(
            f"{path}: does not say which process holds it",
            hint=f"`fuser {path}` names it; it saves and ends on SIGTERM",
        )
    name = command.rpartition(" ")[2]
    if holder.boot != lock.boot_id():
        raise RequestError(
            f"{name}: watched on {holder.host}, not on this machine", hint=f"ssh {holder.host} {command}"
        )
    if holder.pid_space not in (None, lock.pid_space()):
        raise RequestError(
            f"{name}: watched in another container, {holder.host}, whose processes have other numbers here",
            hint=f"{command}, typed in that container",
        )
    return holder.pid
