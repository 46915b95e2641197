"""Faults of the container: shared memory, limits of the process, who it is and where it may write."""

from __future__ import annotations

import shutil

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.namespaces import inside, tmpfs
from tests.envcheck.paper import h100_node
from tests.envcheck.paper_system import LIMITS, rdma_port, system
from tests.envcheck.proof import fake, natural

TWO = ["--procs-per-node", "2"]
MOUNTS = ("unshare", "namespaces")


def beside_infiniband(bench: Bench) -> None:
    h100_node(bench)
    system(bench)
    rdma_port(bench)
    bench.wants(nodes=2)


def process_one(name: str, bench: Bench) -> list[str]:
    """A wrapper whose process 1 is a shell that is called `name`."""
    shell = bench.root / name
    shutil.copy("/bin/sh", shell)
    return ["unshare", "--pid", "--fork", "--mount-proc", str(shell), "-c", '"$@"; exit $?', name]


def unlisted(bench: Bench) -> dict[str, object]:
    return {"wrapper": ["unshare", "--user", "--map-user=12345", "--"], "environ": {"USER": "", "LOGNAME": ""}}


PROOFS = [
    natural(
        "CTR001",
        "F22",
        "a tmpfs of 64 MB at /dev/shm",
        "/dev/shm has 64 MiB",
        needs=MOUNTS,
        fault={"wrapper": inside(tmpfs("/dev/shm", "size=64m"), "--mount"), "options": TWO},
        healthy={"wrapper": inside(tmpfs("/dev/shm", "size=1g"), "--mount"), "options": TWO},
    ),
    natural(
        "CTR001",
        "F22",
        "the same for loaders of a job on the CPU",
        "/dev/shm has 64 MiB",
        needs=MOUNTS,
        status=Status.WARN,
        fault={"wrapper": inside(tmpfs("/dev/shm", "size=64m"), "--mount"), "options": ["--device", "cpu"]},
        healthy={"wrapper": inside(tmpfs("/dev/shm", "size=1g"), "--mount"), "options": ["--device", "cpu"]},
    ),
    fake(
        "CTR002",
        "F23",
        "64 KiB of locked memory beside an InfiniBand port",
        "64 KiB may be locked, and mlx5_0",
        base=beside_infiniband,
        plant=lambda bench: bench.file("/proc/self/limits", LIMITS.format(memlock="65536")),
    ),
    natural(
        "CTR003",
        "F24",
        "prlimit --nofile=64",
        "64 open files are allowed",
        needs=("prlimit",),
        fault={"wrapper": ["prlimit", "--nofile=64:64"]},
        healthy={"wrapper": ["prlimit", "--nofile=1024:1024"]},
    ),
    natural(
        "CTR003",
        "F24",
        "twenty loaders and prlimit --nofile=1024",
        "this job may want 1540",
        needs=("prlimit",),
        status=Status.WARN,
        fault={"wrapper": ["prlimit", "--nofile=1024:1024"], "options": ["--loader-workers", "20"]},
        healthy={"wrapper": ["prlimit", "--nofile=1024:1024"], "options": ["--loader-workers", "2"]},
    ),
    natural(
        "CTR009",
        "F29",
        "started as process 1 of a namespace",
        "this very process is process 1",
        needs=MOUNTS,
        fault={"wrapper": ["unshare", "--pid", "--fork", "--mount-proc", "--"]},
        healthy=lambda bench: {"wrapper": process_one("tini", bench)},
    ),
    natural(
        "CTR009",
        "F29",
        "a shell as process 1 of a namespace",
        "process 1 is bash",
        needs=MOUNTS,
        fault=lambda bench: {"wrapper": process_one("bash", bench)},
        healthy=lambda bench: {"wrapper": process_one("tini", bench)},
    ),
    natural(
        "CTR010",
        "F31",
        "user 12345 of a user namespace",
        "user 12345 has no entry",
        needs=MOUNTS,
        fault=unlisted,
        healthy={"environ": {"USER": "", "LOGNAME": ""}},
    ),
    natural(
        "CTR011",
        "F32",
        "HOME=/nonexistent",
        "HOME is /nonexistent, which does not exist",
        fault={"environ": {"HOME": "/nonexistent", "XDG_CACHE_HOME": ""}},
        healthy=lambda bench: {"environ": {"HOME": str(bench.root)}},
    ),
    natural(
        "CTR011",
        "F32",
        "a read-only tmpfs as HOME",
        "Read-only file system",
        needs=MOUNTS,
        fault={"wrapper": inside(tmpfs("/mnt", "ro"), "--mount"), "environ": {"HOME": "/mnt", "XDG_CACHE_HOME": ""}},
        healthy={"wrapper": inside(tmpfs("/mnt", "rw"), "--mount"), "environ": {"HOME": "/mnt", "XDG_CACHE_HOME": ""}},
    ),
    natural(
        "CTR012",
        "F46",
        "TMPDIR on a tmpfs that is noexec",
        "/mnt is mounted noexec",
        needs=MOUNTS,
        fault={"wrapper": inside(tmpfs("/mnt", "noexec"), "--mount"), "environ": {"TMPDIR": "/mnt"}},
        healthy={"wrapper": inside(tmpfs("/mnt", "exec"), "--mount"), "environ": {"TMPDIR": "/mnt"}},
    ),
    natural(
        "CTR013",
        "F32",
        "TMPDIR on a read-only tmpfs",
        "/mnt: Read-only file system",
        needs=MOUNTS,
        fault={"wrapper": inside(tmpfs("/mnt", "ro"), "--mount"), "environ": {"TMPDIR": "/mnt"}},
        healthy={"wrapper": inside(tmpfs("/mnt", "rw"), "--mount"), "environ": {"TMPDIR": "/mnt"}},
    ),
]
