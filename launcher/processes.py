"""What becomes of processes: who adopts them, who takes them along when it dies, how all of them are ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

MARK = "LAUNCHER_RUN"
"""Environment variable that marks every process of a run; its value is the run id, or nothing for what is no run's."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none can slip away (Linux subreaper)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Arrange to be killed when the parent dies; exits at once if it already has.

    The kernel watches the parent's *thread*: the parent must have started this process from its main thread.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def end_descendants(mark: str | None = None, *, spare: Collection[int] = (), patience: float = 10.0) -> bool:
    """Kill every descendant of this process and reap it, but for those in `spare`; with a mark, also but for those that
    carry another, or an empty one: launchers in the background and of trials. One that carries none may have been
    started by the run's with an environment of its own.

    Looks again until none is left, because one may fork while it is being looked for. Returns False if some are
    still there after `patience` seconds (stuck in the kernel, or another user's).
    """
    deadline = time.monotonic() + patience
    while True:
        left = [pid for pid in descendants() if pid not in spare and (mark is None or _mark(pid) in (mark, None))]
        if not left:
            return True
        if time.monotonic() > deadline:
            return False
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def end_marked(mark: str, *, patience: float = 10.0) -> bool:
    """Kill every process that this user may kill and that carries the mark, whoever its parent is, but for this one and
    those above it. Returns False if some are still there after `patience` seconds."""
    spared, deadline = _ancestry(), time.monotonic() + patience
    while left := [pid for pid in every() if pid not in spared and marked(pid, mark) and not _ended(pid)]:
        if time.monotonic() > deadline:
            return False
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return True


def descendants() -> list[int]:
    """Every living process below this one, by the parent links in /proc."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    frontier = [os.getpid()]
    while frontier:
        below = children.get(frontier.pop(), [])
        found += below
        frontier += below
    return found


def every() -> list[int]:
    """Every process of this machine (or of this process name space)."""
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def marked(pid: int, mark: str) -> bool:
    """Whether a process was started for the run `mark`."""
    return _mark(pid) == mark


def oom_kills() -> int | None:
    """How many processes of this cgroup the kernel has killed for want of memory; None if it cannot be seen."""
    for path in _memory_counters():
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return None


def _memory_counters() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            inside = group.lstrip("/")
            if "memory" in controllers.split(","):
                yield Path("/sys/fs/cgroup/memory", inside, "memory.oom_control")
            elif not controllers:
                yield Path("/sys/fs/cgroup", inside, "memory.events")
    yield Path("/proc/vmstat")


def _mark(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == MARK.encode():
                return value.decode(errors="replace")
    return None


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # Bytes, because a program's name may be cut in the middle of a character.
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] != b"Z" or int(fields[1]) == os.getpid():
                    yield int(entry.name), int(fields[1])


def _ancestry() -> set[int]:
    parents = dict(_parents())
    pid, line = os.getpid(), set[int]()
    while pid and pid not in line:
        line.add(pid)
        pid = parents.get(pid, 0)
    return line


def _ended(pid: int) -> bool:
    """Whether it is dead already, though its parent has not looked."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
