"""The `cgroup` section: the tightest limits above this process, from control groups of version 2 or 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.container import Cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine

ROOT = "/sys/fs/cgroup"
NO_LIMIT = 1 << 60
"""Version 1 writes the largest multiple of a page for "no limit"."""


def collect(machine: Machine) -> Cgroup:
    groups = dict(_groups(machine.read("/proc/self/cgroup")))
    if machine.read_or_none(f"{ROOT}/cgroup.controllers") is not None:
        return _version_2(machine, groups.get("", "/"))
    if not machine.names(ROOT):
        raise Absent(f"{ROOT}: no control groups are mounted")
    return _version_1(machine, groups)


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """Controller -> path; the controller of version 2 has no name."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _version_2(machine: Machine, path: str) -> Cgroup:
    folders = list(_upwards(machine, ROOT, path))
    quotas = [_quota(machine.read_or_none(f"{one}/cpu.max")) for one in folders]
    memory, memory_at = _lowest(machine, folders, "memory.max")
    pids, pids_at = _lowest(machine, folders, "pids.max")
    used = _number(machine.read_or_none(f"{memory_at}/memory.current"))
    cache = _cache(machine.read_or_none(f"{memory_at}/memory.stat"), "")
    return Cgroup(
        version=2,
        cpu_quota=min((one for one in quotas if one), default=None),
        memory_limit=memory,
        memory_used=None if used is None else max(0, used - cache),
        oom_kills=_count(machine.read_or_none(f"{folders[0]}/memory.events"), "oom_kill"),
        pids_limit=pids,
        pids_used=_number(machine.read_or_none(f"{pids_at}/pids.current")),
    )


def _version_1(machine: Machine, groups: dict[str, str]) -> Cgroup:
    cpu, memory, pids = (_of_controller(machine, groups, name) for name in ("cpu", "memory", "pids"))
    quotas = [_quota_1(machine, folder) for folder in cpu]
    limit, limit_at = _lowest(machine, memory, "memory.limit_in_bytes")
    tasks, tasks_at = _lowest(machine, pids, "pids.max")
    used = _number(machine.read_or_none(f"{limit_at}/memory.usage_in_bytes"))
    cache = _cache(machine.read_or_none(f"{limit_at}/memory.stat"), "total_")
    control = machine.read_or_none(f"{memory[0]}/memory.oom_control") if memory else None
    return Cgroup(
        version=1,
        cpu_quota=min((one for one in quotas if one), default=None),
        memory_limit=limit,
        memory_used=None if used is None else max(0, used - cache),
        oom_kills=_count(control, "oom_kill"),
        pids_limit=tasks,
        pids_used=_number(machine.read_or_none(f"{tasks_at}/pids.current")),
    )


def _of_controller(machine: Machine, groups: dict[str, str], controller: str) -> list[str]:
    for mount in (controller, "cpu,cpuacct"):
        if machine.names(f"{ROOT}/{mount}"):
            return list(_upwards(machine, f"{ROOT}/{mount}", groups.get(controller, "/")))
    return []


def _upwards(machine: Machine, root: str, path: str) -> Iterator[str]:
    """The group's folder and its ancestors; in a container the path may lie outside of what is mounted."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    while parts:
        folder = "/".join([root, *parts])
        if machine.names(folder):
            yield folder
        parts.pop()
    yield root


def _lowest(machine: Machine, folders: list[str], name: str) -> tuple[int | None, str]:
    """The lowest limit, and the folder that sets it (the group's own where none does)."""
    found = [(_number(machine.read_or_none(f"{folder}/{name}")), folder) for folder in folders]
    limits = [(limit, folder) for limit, folder in found if limit is not None and limit < NO_LIMIT]
    return min(limits) if limits else (None, folders[0] if folders else "")


def _quota(text: str | None) -> float | None:
    words = (text or "max").split()
    return None if words[0] == "max" else int(words[0]) / int(words[1])


def _quota_1(machine: Machine, folder: str) -> float | None:
    quota, period = (_number(machine.read_or_none(f"{folder}/cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def _cache(stat: str | None, prefix: str) -> int:
    """Bytes the kernel would drop before it kills."""
    return sum(_count(stat, f"{prefix}{kind}_file") or 0 for kind in ("active", "inactive"))


def _count(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        word, _, value = line.partition(" ")
        if word == name:
            return _number(value.strip())
    return None
