"""Only one launcher watches a run: a file lock that ends with the process that holds it, and says who that is."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from launcher import readback, typed
from launcher.bounds import above
from launcher.errors import EnvironmentUnfit, RequestError


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock, by the file's word; None where that is damaged."""

    pid: Annotated[int, above(1)] | None = None
    host: str | None = None
    boot: str | None = None
    """Of the machine since it was started (`boot_id`)."""
    pid_space: str | None = None
    """Where the number of the process is its own (`pid_space`)."""


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock of the run in whose folder `path` is. Raises RequestError when another launcher does."""
    with unfit(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        _lock_or_refuse(descriptor, path)
        me = Holder(pid=os.getpid(), host=socket.gethostname(), boot=boot_id(), pid_space=pid_space())
        with unfit(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(dataclasses.asdict(me)).encode(), 0)
        yield
    finally:
        _let_go(descriptor)


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return last_holder(path)
    else:
        return None
    finally:
        _let_go(descriptor)


def last_holder(path: Path) -> Holder:
    """Who holds the lock, or did so last."""
    return Holder(**typed.fitting(Holder, readback.json_object_or_none(path) or {}))


def boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def pid_space() -> str | None:
    """The space that process numbers are of: a container has its own."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return None


@contextlib.contextmanager
def unfit(path: Path) -> Iterator[None]:
    """What a disk refuses becomes EnvironmentUnfit, with the remedy."""
    try:
        yield
    except OSError as error:
        raise EnvironmentUnfit(
            f"{error.filename or path}: cannot be written ({error.strerror})",
            hint="see that the disk has room and is well, and the folder yours; then launcher resume",
        ) from error


def _let_go(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a failing disk says so here too; the lock is gone all the same
        os.close(descriptor)


def _lock_or_refuse(descriptor: int, path: Path) -> None:
    """Take the lock, waiting out readers, which hold it for a moment when they look whether it is held."""
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return
    other, run = last_holder(path), path.parent.name
    raise RequestError(f"{run}: already watched by process {other.pid} on {other.host}", hint=f"launcher stop {run}")
