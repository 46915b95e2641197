"""What the kernel grants this process: limits, processors, memory, and who it is."""

from dataclasses import dataclass
from typing import Optional

UNLIMITED = -1


@dataclass(frozen=True)
class Limits:
    """The process's own limits; UNLIMITED is -1."""

    nofile: Optional[int] = None
    """Open files, the soft limit."""
    nofile_hard: Optional[int] = None
    memlock: Optional[int] = None
    """Bytes that may be locked in memory, as RDMA does with its buffers."""
    may_lock: bool = False
    """The process has the right (CAP_IPC_LOCK) to lock any amount, whatever the limit says."""
    processes: Optional[int] = None
    """Processes and threads of this user."""
    cpus: Optional[int] = None
    """Processors this process may run on."""
    numa_nodes: int = 1
    """NUMA nodes of the machine that have processors."""
    numa_allowed: int = 1
    """Of these, the ones with a processor this process may run on."""
    shm_bytes: Optional[int] = None
    """Size of /dev/shm."""
    shm_free_bytes: Optional[int] = None


@dataclass(frozen=True)
class Cgroup:
    """The tightest limit on the way from this process's control group to the root; None is no limit."""

    version: int
    cpu_quota: Optional[float] = None
    """Processors' worth of time."""
    memory_limit: Optional[int] = None
    memory_used: Optional[int] = None
    """Bytes, without the page cache that can be dropped."""
    oom_kills: Optional[int] = None
    """Processes of this group the kernel has killed for memory; None where it does not count them."""
    pids_limit: Optional[int] = None
    pids_used: Optional[int] = None


@dataclass(frozen=True)
class Process:
    """This process among the others."""

    uid: int
    user: Optional[str] = None
    """The name /etc/passwd has for it."""
    init: str = ""
    """Name of process 1 of this process namespace."""
    is_init: bool = False
    """This very process is process 1."""
