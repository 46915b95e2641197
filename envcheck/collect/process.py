"""The `process` section: the user and process 1."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envcheck.sections.container import Process

if TYPE_CHECKING:
    from envcheck.machine import Machine


def collect(machine: Machine) -> Process:
    uid = int(_effective_uid(machine.read("/proc/self/status")))
    return Process(
        uid=uid,
        user=_name(machine, uid),
        init=machine.read_or_none("/proc/1/comm") or "",
        is_init=os.getpid() == 1,
    )


def _effective_uid(status: str) -> str:
    return next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))


def _name(machine: Machine, uid: int) -> str | None:
    """As Python's getpwuid sees it, where this is the machine itself: a directory service may know the user too."""
    for line in (machine.read_or_none("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    if str(machine.root) != "/":
        return None
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
