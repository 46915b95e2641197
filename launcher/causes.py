"""What sort of failure a cause is, so that only what can succeed again is tried again; and the remedies that are known.

Tables only: a cause is classed by the signal that ended a process, else by what its message says, else by its kind.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.spec import FailureClass


@dataclass(frozen=True)
class Class:
    """Which class a failure is of, why, and what helps."""

    name: FailureClass
    reason: str
    hint: str | None = None


OUTSIDE = "something outside the run killed it: the system, the scheduler or a person"
NODE_GONE = "the node, or the connection to it, was lost"
ENVCHECK = "`launcher envcheck` names what the machine lacks"
LESS_MEMORY = "give the job more memory, or a smaller training.batch_size with training.accumulate"
MORE_ROOM = "free space there, or put runs elsewhere: --runs-dir DIR"
MORE_SHARED = "more shared memory (docker: --shm-size), or loader.workers: 0"

SIGNALS: Mapping[str, Class] = {
    "SIGKILL": Class("preemption", OUTSIDE),
    "SIGTERM": Class("preemption", OUTSIDE),
    "SIGINT": Class("preemption", OUTSIDE),
    "SIGHUP": Class("preemption", OUTSIDE),
    "SIGXCPU": Class("preemption", "its limit of CPU time is used up", "ulimit -t unlimited"),
    "SIGBUS": Class("capacity", "a mapped file or shared memory has no room left", MORE_SHARED),
    "SIGSEGV": Class("user", "compiled code touched memory that is not its own", "the log may hold the stack"),
    "SIGFPE": Class("user", "compiled code computed what has no result"),
    "SIGILL": Class("environment", "compiled code uses an instruction that this CPU lacks", ENVCHECK),
    "SIGABRT": Class("hardware", "NCCL's watchdog or an assertion in compiled code gave up", "the log says which"),
}
"""By the signal that ended a process."""

MESSAGES: tuple[tuple[str, Class], ...] = (
    (r"want of memory", Class("capacity", "the machine had no memory left", LESS_MEMORY)),
    (
        r"CUDA out of memory|OutOfMemoryError|can't allocate memory|Unable to allocate|Cannot allocate memory"
        r"|^MemoryError",
        Class("capacity", "there was no memory left", LESS_MEMORY),
    ),
    (r"No space left on device|Disk quota exceeded", Class("capacity", "a disk is full", MORE_ROOM)),
    (r"Too many open files", Class("capacity", "the limit of open files is used up", "ulimit -n 65536")),
    (
        r"can't start new thread|Resource temporarily unavailable",
        Class("capacity", "no process or thread was to be had"),
    ),
    (r"insufficient shared memory|unable to \w+ shared memory", Class("capacity", "no shared memory", MORE_SHARED)),
    (
        r"uncorrectable ECC|\bXid\b|fallen off the bus|unspecified launch failure|CUDA error: unknown error",
        Class("hardware", "a GPU failed", "`dmesg` and `nvidia-smi -q` say more; leave that host out"),
    ),
    (
        r"ncclSystemError|ncclRemoteError|ncclInternalError|NCCL error|unhandled system error",
        Class("hardware", "GPUs could not reach each other", "env: {NCCL_DEBUG: WARN} lets NCCL say why"),
    ),
    (
        r"Input/output error|Stale file handle|Read-only file system|Remote I/O error|Structure needs cleaning",
        Class("hardware", "a disk or a file server failed"),
    ),
    (
        r"lost with the connection|no sign of life|the launcher was silent|the launcher is gone",
        Class("hardware", NODE_GONE),
    ),
    (
        r"driver version is insufficient|no kernel image is available|GLIBC_|cannot open shared object file",
        Class("environment", "the software of the node does not fit together", ENVCHECK),
    ),
    (
        r"Address already in use|Temporary failure in name resolution|Name or service not known|No route to host"
        r"|Network is unreachable|Connection refused",
        Class("environment", "the network did not let it through", ENVCHECK),
    ),
    (
        r"No module named",
        Class(
            "user", "a package is missing", "install it, or correct the import; `launcher envcheck` lists what is here"
        ),
    ),
    (
        r"device-side assert|CUDA error",
        Class("user", "a kernel failed", "env: {CUDA_LAUNCH_BLOCKING: '1'} lets the traceback show which"),
    ),
)
"""By what the message says; the first that fits."""

KINDS: Mapping[str, Class] = {
    "user": Class("user", "the job's own code raised it"),
    "exit": Class("user", "the job's own code ended the process"),
    "numerics": Class("user", "a number of the training was no longer finite"),
    "request": Class("user", "the job asks for what is not there"),
    "environment": Class("environment", "the node does not fit the job"),
    "storage": Class("capacity", "a checkpoint could not be written", MORE_ROOM),
    "node": Class("hardware", NODE_GONE),
    "agent": Class("environment", "the node's part ended before its ranks did"),
    "silent": Class("preemption", OUTSIDE),
    "victim": Class("hardware", "a peer vanished and left no word"),
    "hang": Class("hang", "a rank no longer moved"),
}
"""By the kind of cause, where its message says nothing more."""

UNKNOWN = Class("user", "nothing says why")


def classed(cause: Mapping[str, Any]) -> Class:
    """The class of a root cause, as the verdict gives it."""
    kind, message = str(cause.get("kind")), f"{cause.get('type') or ''}: {cause.get('message')}".removeprefix(": ")
    found = [each for pattern, each in MESSAGES if re.search(pattern, message)] if kind not in SURE else []
    ended = re.search(r"(?:killed by|exit code) (SIG[A-Z]+|-\d+)", message) if kind in ENDED else None
    if found:
        return found[0]
    if ended:
        return SIGNALS.get(_name(ended[1]), KINDS.get(kind, UNKNOWN))
    return KINDS.get(kind, UNKNOWN)


SURE = frozenset({"exit", "numerics", "request", "hang"})
"""Kinds of which the message says nothing more about the class."""
ENDED = frozenset({"killed", "aborted", "node", "agent"})
"""Kinds of which the message may name the signal that ended a process."""


def fingerprint(cause: Mapping[str, Any]) -> tuple[str, ...]:
    """What two failures have in common that are one and the same: numbers, addresses and paths aside.

    An error of the code is the same on whichever rank it is met first; a process that was ended is so at its place.
    """
    words = re.sub(r"0x[0-9a-f]+|/\S+|\d+", "#", str(cause.get("message")))
    place = () if cause.get("type") else (str(cause.get("node")), str(cause.get("rank")))
    return (str(cause.get("kind")), str(cause.get("type")), words, *place)


def _name(word: str) -> str:
    return word if word.startswith("SIG") else signal.Signals(-int(word)).name
