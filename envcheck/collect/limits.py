"""The `limits` section, from /proc/self, /sys/devices/system/node and /dev/shm."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envcheck.sections.container import UNLIMITED, Limits

if TYPE_CHECKING:
    from envcheck.machine import Machine

CAP_IPC_LOCK = 1 << 14
NODES = "/sys/devices/system/node"


def collect(machine: Machine) -> Limits:
    rows = _rows(machine.read("/proc/self/limits"))
    status = machine.read_or_none("/proc/self/status") or ""
    cpus = _cpu_list(_field(status, "Cpus_allowed_list"))
    nodes = [_cpu_list(machine.read_or_none(f"{NODES}/{name}/cpulist")) for name in _node_names(machine)]
    nodes = [one for one in nodes if one]
    shm_bytes, shm_free = _space(machine, "/dev/shm")
    return Limits(
        nofile=_soft(rows, "Max open files"),
        nofile_hard=_number(rows["Max open files"][1]) if "Max open files" in rows else None,
        memlock=_soft(rows, "Max locked memory"),
        may_lock=bool(int(_field(status, "CapEff") or "0", 16) & CAP_IPC_LOCK),
        processes=_soft(rows, "Max processes"),
        cpus=len(cpus) or None,
        numa_nodes=len(nodes) or 1,
        numa_allowed=sum(bool(one & cpus) for one in nodes) or 1,
        shm_bytes=shm_bytes,
        shm_free_bytes=shm_free,
    )


def _rows(text: str) -> dict[str, tuple[str, str]]:
    """Name -> soft and hard limit; the columns have fixed places."""
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in text.splitlines()[1:]}


def _soft(rows: dict[str, tuple[str, str]], name: str) -> int | None:
    return _number(rows[name][0]) if name in rows else None


def _number(word: str) -> int | None:
    if word == "unlimited":
        return UNLIMITED
    return int(word) if word.isdigit() else None


def _field(status: str, name: str) -> str | None:
    return next((line.partition(":")[2] for line in status.splitlines() if line.startswith(f"{name}:")), None)


def _cpu_list(text: str | None) -> set[int]:
    """`0-3,8` as a set of numbers."""
    found: set[int] = set()
    for part in (text or "").strip().split(","):
        first, dash, last = part.partition("-")
        if first.isdigit():
            found |= set(range(int(first), int(last if dash else first) + 1))
    return found


def _node_names(machine: Machine) -> list[str]:
    return [name for name in machine.names(NODES) if name.startswith("node") and name[4:].isdigit()]


def _space(machine: Machine, path: str) -> tuple[int | None, int | None]:
    try:
        found = os.statvfs(machine.path(path))
    except OSError:
        return None, None
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
