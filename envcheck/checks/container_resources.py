"""Processors, memory and processes that the control group grants, against what the job will use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, unknown, warn
from envcheck.sections.container import UNLIMITED

if TYPE_CHECKING:
    from envcheck.sections.container import Cgroup, Limits
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need

MIB, GIB = 1 << 20, 1 << 30
MEMORY_OF_A_RANK, MEMORY_OF_A_LOADER = 1 * GIB, 256 * MIB
MEMORY_OF_TORCH = 256 * MIB
"""What a process has before its first tensor."""
TASKS_OF_A_RANK, TASKS_OF_A_LOADER = 48, 8
FEWEST_TASKS_OF_A_RANK = 8


@check(
    "CTR004",
    remedy="export OMP_NUM_THREADS={threads}, or raise the quota (`--cpus`; Kubernetes: `resources.limits.cpu`)",
    severity=Status.WARN,
    modes=("F25",),
)
def threads_fit_the_processor_quota(cgroup: Cgroup, limits: Limits, need: Need, environment: Environment) -> Outcome:
    """Threads are as many as the quota of processor time can feed.

    Libraries start a thread for every core they see; with a quota far below, all of them are stopped together for most
    of each tenth of a second, and the job runs many times slower than with fewer threads.
    """
    if cgroup.cpu_quota is None or limits.cpus is None or cgroup.cpu_quota >= limits.cpus:
        return None
    told = environment.get("OMP_NUM_THREADS").split(",")[0]
    threads = int(told) if told.isdigit() else limits.cpus
    if need.procs_per_node * threads <= max(1.0, cgroup.cpu_quota * 1.5) and cgroup.cpu_quota >= 1:
        return None
    saw = f"the quota is {cgroup.cpu_quota:g} processors, {limits.cpus} are visible"
    saw += f" and OMP_NUM_THREADS is {told}" if told else ""
    return warn(saw, threads=max(1, int(cgroup.cpu_quota // need.procs_per_node)))


@check(
    "CTR005",
    remedy="widen the set (`--cpuset-cpus`, `taskset -c`, Slurm: --cpus-per-task), or run fewer processes",
    severity=Status.WARN,
    modes=("F26",),
)
def processors_suffice_for_the_ranks(limits: Limits, need: Need) -> Outcome:
    """Every rank has a processor, and the ranks are not all held on one socket.

    Ranks that share a processor take turns, and all wait for the slowest; ranks of one socket share its memory's speed.
    """
    if limits.cpus is None:
        return unknown("/proc does not tell the allowed processors")
    if limits.cpus < need.procs_per_node:
        return f"{need.procs_per_node} processes share {limits.cpus} allowed processor{'s' * (limits.cpus > 1)}"
    if need.procs_per_node > 1 and limits.numa_allowed < limits.numa_nodes:
        return f"{limits.numa_allowed} of {limits.numa_nodes} NUMA nodes may be used by {need.procs_per_node} processes"
    return None


@check(
    "CTR006",
    remedy="raise the limit (`--memory`; Kubernetes: `resources.limits.memory`), or use fewer processes and loaders",
    modes=("F27",),
)
def memory_suffices_for_the_ranks(cgroup: Cgroup, need: Need) -> Outcome:
    """The memory limit leaves room for every rank and loader.

    A process over the limit gets signal 9 and no word why. Importing torch alone takes some 0.3 GiB, CUDA more.
    """
    if cgroup.memory_limit is None:
        return None
    room = cgroup.memory_limit - (cgroup.memory_used or 0)
    wanted = need.procs_per_node * (MEMORY_OF_A_RANK + MEMORY_OF_A_LOADER * need.loader_workers)
    if room >= wanted:
        return None
    saw = f"{room // MIB} MiB are left of {cgroup.memory_limit // MIB} MiB; this job wants some {wanted // MIB}"
    return fail(saw) if room < need.procs_per_node * MEMORY_OF_TORCH else warn(saw)


@check(
    "CTR007",
    remedy="raise the limit (`--memory`), and look for what died: dmesg | grep -i 'killed process'",
    severity=Status.WARN,
    modes=("F27",),
)
def nothing_was_killed_for_memory(cgroup: Cgroup) -> Outcome:
    """The kernel has killed no process of this container for memory.

    A loader or rank that ended with -9 was most likely this.
    """
    if cgroup.oom_kills is None:
        return unknown("this control group does not count them")
    if not cgroup.oom_kills:
        return None
    return f"killed here for want of memory so far: {cgroup.oom_kills} (memory.events: oom_kill)"


@check(
    "CTR008",
    remedy="raise the limit (`--pids-limit=-1`; Kubernetes: podPidsLimit of the kubelet; `ulimit -u`)",
    modes=("F28",),
)
def enough_processes_can_start(cgroup: Cgroup, limits: Limits, need: Need) -> Outcome:
    """There is room for the threads of every rank and loader.

    Beyond the limit Python says "can't start new thread" and OpenBLAS "pthread_create failed".
    """
    wanted = need.procs_per_node * (TASKS_OF_A_RANK + TASKS_OF_A_LOADER * need.loader_workers)
    least = need.procs_per_node * (FEWEST_TASKS_OF_A_RANK + need.loader_workers)
    if cgroup.pids_limit is not None:
        room = cgroup.pids_limit - (cgroup.pids_used or 0)
        if room < wanted:
            saw = f"{room} more processes or threads may start of {cgroup.pids_limit}; this job wants some {wanted}"
            return fail(saw) if room < least else warn(saw)
    if limits.processes not in (None, UNLIMITED) and limits.processes < wanted:
        saw = f"`ulimit -u` is {limits.processes}; this job wants some {wanted}"
        return fail(saw) if limits.processes < least else warn(saw)
    return None


@check(
    "CTR014",
    remedy="export OMP_NUM_THREADS={threads}   # processors / processes of this node",
    severity=Status.WARN,
    modes=("F30",),
)
def threads_fit_the_processors(environment: Environment, limits: Limits, need: Need) -> Outcome:
    """OMP_NUM_THREADS is neither all cores for every rank, nor one where there are many.

    With all cores for each of eight ranks, eight times too many threads wait for each other; with one, every operation
    on the CPU (augmentation, optimizer off-loading) uses one core of a big machine.
    """
    told = environment.get("OMP_NUM_THREADS").split(",")[0]
    if limits.cpus is None or not told.isdigit():
        return warn(f"OMP_NUM_THREADS is {told!r}, not a number", threads=1) if told else None
    share = max(1, limits.cpus // need.procs_per_node)
    if int(told) * need.procs_per_node > limits.cpus and int(told) > 1:
        saw = f"{need.procs_per_node} processes with OMP_NUM_THREADS={told} each, on {limits.cpus} processors"
        return warn(saw, threads=share)
    if told == "1" and share >= 16 and need.device == "cpu":
        return warn(f"OMP_NUM_THREADS=1, though each process could have {share} processors", threads=share)
    return None
