"""The container or machine around the process: shared memory, limits, and who the process is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, unknown, warn
from envcheck.sections.container import UNLIMITED

if TYPE_CHECKING:
    from envcheck.sections.container import Limits, Process
    from envcheck.sections.gpus import Gpus
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need
    from envcheck.sections.network import Network
    from envcheck.sections.storage import Storage

MIB, GIB = 1 << 20, 1 << 30
FEWEST_FILES = 256
FILES_OF_A_RANK, FILES_OF_A_LOADER, FILES_OF_A_PEER = 256, 64, 4
NOT_AN_INIT = ("bash", "sh", "dash", "sleep", "tail", "torchrun", "accelerate", "deepspeed", "jupyter", "python")
REGISTERED_MEMORY = 1 * GIB
"""Less than this cannot hold the buffers that NCCL registers with a card."""


@check(
    "CTR001",
    remedy="start the container with `--shm-size=8g` or `--ipc=host` (compose: `shm_size: 8g`; Kubernetes: an emptyDir "
    "with `medium: Memory` at /dev/shm)",
    modes=("F22",),
)
def shared_memory_suffices(limits: Limits, need: Need) -> Outcome:
    """/dev/shm is larger than docker's 64 MB.

    Loader processes hand over batches through it, and die of a "bus error" when those do not fit; NCCL between GPUs
    does not even start.
    """
    if limits.shm_bytes is None:
        return unknown("cannot see /dev/shm")
    if limits.shm_bytes <= 64 * MIB:
        saw = f"/dev/shm has {limits.shm_bytes // MIB} MiB"
        return fail(saw) if need.device != "cpu" and need.procs_per_node > 1 else warn(saw)
    free = limits.shm_free_bytes or 0
    if free < 64 * MIB:
        return warn(f"/dev/shm has {limits.shm_bytes // MIB} MiB, of which {free // MIB} are free (`ls -l /dev/shm`)")
    return None


@check(
    "CTR002",
    remedy="ulimit -l unlimited (container: `--ulimit memlock=-1`; for good: `* - memlock unlimited` in "
    "/etc/security/limits.conf; Slurm: LimitMEMLOCK=infinity for slurmd)",
    modes=("F23",),
)
def memory_can_be_locked_for_rdma(
    limits: Limits, network: Network, need: Need, environment: Environment, gpus: Gpus | None = None
) -> Outcome:
    """Beside an InfiniBand or RoCE card, memory can be locked.

    The card needs its buffers locked; below that registration fails with "Cannot allocate memory", or seems to hang.
    """
    unused = need.device == "cpu" or environment.get("NCCL_IB_DISABLE") == "1" or (gpus and not gpus.devices)
    if not network.rdma or unused or limits.may_lock:
        return fine("no RDMA card is used: nothing to judge")
    if limits.memlock is None:
        return unknown("/proc does not tell the limit")
    if limits.memlock != UNLIMITED and limits.memlock < REGISTERED_MEMORY:
        saw = f"{limits.memlock // 1024} KiB may be locked, and {network.rdma[0].device} is an RDMA card"
        return fail(saw) if need.nodes > 1 else warn(saw)
    return None


@check("CTR003", remedy="ulimit -n {wanted} (container: `--ulimit nofile={wanted}:{wanted}`)", modes=("F24",))
def enough_files_can_be_open(limits: Limits, need: Need) -> Outcome:
    """A process may open enough files.

    Each loader process costs pipes and shared tensors, each peer a socket: "Too many open files", hours later.
    """
    if limits.nofile is None:
        return unknown("/proc does not tell the limit")
    wanted = FILES_OF_A_RANK + FILES_OF_A_LOADER * need.loader_workers + FILES_OF_A_PEER * need.world_size
    if limits.nofile == UNLIMITED or limits.nofile >= wanted:
        return None
    saw = f"{limits.nofile} open files are allowed, this job may want {wanted}"
    verdict = fail if limits.nofile < FEWEST_FILES else warn
    return verdict(saw, wanted=max(65536, wanted))


@check(
    "CTR009",
    remedy="start the container with `--init` (Kubernetes: `shareProcessNamespace: true`, or tini as the entry point)",
    severity=Status.WARN,
    modes=("F29",),
)
def process_one_is_an_init(process: Process) -> Outcome:
    """Process 1 collects orphans and passes signals on.

    A shell or Python as process 1 does neither: zombies pile up, and on `docker stop` nobody saves a checkpoint.
    """
    if process.is_init:
        return "this very process is process 1"
    if not process.init:
        return unknown("cannot see process 1")
    if process.init.rstrip("0123456789.") in NOT_AN_INIT:
        return f"process 1 is {process.init}"
    return None


@check(
    "CTR010",
    remedy="export USER=trainer HOME=/tmp TORCHINDUCTOR_CACHE_DIR=/tmp/inductor, or start as a user of /etc/passwd",
    severity=Status.WARN,
    modes=("F31",),
)
def user_has_a_name(process: Process, environment: Environment) -> Outcome:
    """The user has a name.

    `docker run -u 12345` gives a number without one: torch.compile (before torch 2.13) and getpass end with
    "getpwuid(): uid not found".
    """
    named = [name for name in ("LOGNAME", "USER", "LNAME", "USERNAME") if environment.get(name)]
    if process.user is not None:
        return None
    if named:
        return fine(f"user {process.uid} has no entry in /etc/passwd; ${named[0]} serves in its place")
    return f"user {process.uid} has no entry in /etc/passwd, and neither USER nor LOGNAME is set"


@check(
    "CTR011",
    remedy="export HOME={folder} (or HF_HOME, TORCH_HOME and XDG_CACHE_HOME), a folder that can be written",
    severity=Status.WARN,
    modes=("F32",),
)
def home_can_be_written(storage: Storage, environment: Environment) -> Outcome:
    """HOME is a folder that can be written.

    Downloads, compiled kernels and settings go there; a read-only image ends the job at its first download.
    """
    home = storage.folders.get("home")
    values = {"folder": "/tmp/home"}
    if home is None:
        return warn("HOME is not set", **values)
    if home.hung:
        return unknown(f"{home.path} gives no answer")
    if environment.get("XDG_CACHE_HOME") and environment.get("HF_HOME"):
        return None
    if not home.exists:
        return warn(f"HOME is {home.path}, which does not exist", **values)
    return warn(f"HOME is {home.path}: {home.write_failure}", **values) if home.write_failure else None


@check(
    "CTR012",
    remedy="export TMPDIR=/dev/shm TRITON_CACHE_DIR=/dev/shm/triton TORCHINDUCTOR_CACHE_DIR=/dev/shm/inductor, or "
    "mount {path} without noexec",
    severity=Status.WARN,
    modes=("F46",),
)
def compiled_kernels_can_be_loaded(storage: Storage) -> Outcome:
    """The folders that compiled kernels go to are not mounted noexec.

    torch.compile and Triton write a library there and load it: "failed to map segment from shared object".
    """
    for role in ("temporary", "inductor", "triton"):
        folder = storage.folders.get(role)
        if folder and folder.noexec:
            return warn(f"{folder.path} is mounted noexec", path=folder.path)
    return None


@check(
    "CTR013",
    remedy="mount a tmpfs there (`--tmpfs /tmp`), or set TMPDIR to a folder that can be written",
    severity=Status.WARN,
    modes=("F32",),
)
def temporary_files_can_be_written(storage: Storage) -> Outcome:
    """The folder for temporary files can be written.

    Python goes on to /var/tmp and the current folder, compilers do not; where there is none at all, every loader ends
    with "No usable temporary directory found".
    """
    folder = storage.folders.get("temporary")
    if folder is None or folder.hung:
        return unknown("the folder for temporary files gives no answer")
    if not folder.exists:
        return f"{folder.path} does not exist"
    return f"{folder.path}: {folder.write_failure}" if folder.write_failure else None
