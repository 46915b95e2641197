"""Faults of storage: small and read-only file systems, locks that fail, caches and checkpoints."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.namespaces import inside, tmpfs
from tests.envcheck.paper_system import folders, system
from tests.envcheck.proof import fake, natural

MOUNTS = ("unshare", "namespaces")
ON_MNT = ["--run-dir", "/mnt"]
SHIMS = {
    "statvfs": "#include <unistd.h>\nint statvfs(const char *p, void *b) { sleep(60); return -1; }\n"
    "int statvfs64(const char *p, void *b) { sleep(60); return -1; }\n",
    "no_locks": "#include <errno.h>\nint flock(int f, int o) { errno = ENOLCK; return -1; }\n",
    "hanging_locks": "#include <unistd.h>\nint flock(int f, int o) { sleep(60); return -1; }\n",
    "quota": "#include <errno.h>\n#include <sys/types.h>\n"
    "ssize_t write(int f, const void *b, size_t n);\n"
    "int fsync(int f) { errno = EDQUOT; return -1; }\n",
}
SHARED = "/nfs/run"


def mounted(options: str, *more: str, **environ: str) -> dict[str, object]:
    return {"wrapper": inside(tmpfs("/mnt", options), "--mount"), "options": [*ON_MNT, *more], "environ": environ}


def preloaded(name: str, bench: Bench) -> dict[str, object]:
    """The real machine with one call of the C library replaced."""
    source, library = bench.root / f"{name}.c", bench.root / f"{name}.so"
    source.write_text(SHIMS[name])
    subprocess.run([str(shutil.which("cc")), "-shared", "-fPIC", "-w", "-o", library, source], check=True, timeout=60)
    return {"environ": {"LD_PRELOAD": str(library)}, "options": ["--run-dir", str(bench.root)]}


def on(bench: Bench, role: str, real: str, filesystem: str) -> None:
    system(bench)
    folders(bench, role, real, filesystem)


def checkpoint(bench: Bench, size: int) -> dict[str, object]:
    folder = bench.root / "checkpoints" / "step-00000020"
    folder.mkdir(parents=True)
    (folder / "rank-0.safetensors").write_bytes(b"x" * size)
    (folder / "manifest.json").write_text(json.dumps({"files": {"rank-0.safetensors": {"size": 4096}}}))
    return {"options": ["--run-dir", str(bench.root)]}


def empty(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return str(folder)


def filled(folder: Path) -> str:
    (folder / "models--gpt2").mkdir(parents=True)
    return str(folder)


PROOFS = [
    natural("STO000", "F74", "a statvfs that never returns", "no answer within 5 s", needs=("cc",),
            fault=lambda bench: preloaded("statvfs", bench)),
    natural("STO001", "F69", "a tmpfs of 1 MB", "/mnt has 1 MiB left", needs=MOUNTS,
            fault=mounted("size=1m"), healthy=mounted("size=8g")),
    natural("STO001", "F69", "a tmpfs of 500 MB", "/mnt has 500 MiB left", needs=MOUNTS, status=Status.WARN,
            fault=mounted("size=500m"), healthy=mounted("size=8g")),
    natural("STO002", "F70", "a tmpfs of 16 inodes", "takes 15 more files of 16", needs=MOUNTS,
            fault=mounted("size=8g,nr_inodes=16"), healthy=mounted("size=8g,nr_inodes=10000")),
    natural("STO003", "F71", "a write that meets EDQUOT", "Disk quota exceeded", needs=("cc",),
            fault=lambda bench: preloaded("quota", bench)),
    fake("STO003", "F71", "what `quota -w` prints of a full one", "/dev/sda1: 1050000 of 1000000", status=Status.WARN,
         base=lambda bench: on(bench, "run", "/data/run", "ext4"),
         plant=lambda bench: bench.answer("quota -w", "Disk quotas for user me (uid 1000):\n  Filesystem blocks quota "
                                          "limit grace files\n  /dev/sda1 1050000* 1000000 1000000 6days 12 0 0\n"),
         cure=lambda bench: bench.answer("quota -w", "  /dev/sda1 5000 1000000 1000000  12 0 0\n")),
    natural("STO004", "F72", "a read-only tmpfs", "/mnt: Read-only file system", needs=MOUNTS,
            fault=mounted("ro"), healthy=mounted("rw")),
    fake("STO005", "F73", "two nodes and a run folder on ext4", "is on ext4, a file system of this node alone",
         base=lambda bench: bench.wants(nodes=2, run_dir=SHARED),
         plant=lambda bench: on(bench, "run", SHARED, "ext4"),
         cure=lambda bench: on(bench, "run", SHARED, "nfs4")),
    natural("STO006", "F74", "a flock that says ENOLCK", "No locks available", needs=("cc",), status=Status.WARN,
            fault=lambda bench: preloaded("no_locks", bench)),
    natural("STO006", "F74", "a flock that never returns", "no answer within 1 s", needs=("cc",),
            fault=lambda bench: preloaded("hanging_locks", bench)),
    fake("STO007", "F75", "the home of Triton's cache on NFS", "is on nfs4",
         plant=lambda bench: on(bench, "triton", "/home/me/.triton", "nfs4"),
         cure=lambda bench: on(bench, "triton", "/home/me/.triton", "xfs")),
    natural("STO008", "F76", "offline with an empty cache", "HF_HUB_OFFLINE is set, and",
            fault=lambda bench: {"environ": {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": empty(bench.root / "hub")}},
            healthy=lambda bench: {"environ": {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": filled(bench.root / "hub")}}),
    natural("STO008", "F76", "the cache on a tmpfs of 1 MB", "hub has 1 MiB left", needs=MOUNTS,
            fault=mounted("size=1m", HF_HOME="/mnt"), healthy=mounted("size=8g", HF_HOME="/mnt")),
    natural("STO010", "F78", "a file of the newest checkpoint cut off", "rank-0.safetensors: 1000 bytes of 4096",
            fault=lambda bench: checkpoint(bench, 1000), healthy=lambda bench: checkpoint(bench, 4096)),
]  # fmt: skip
