"""The healthy system around the GPUs of a node on paper: limits, control group, folders and cards."""

from __future__ import annotations

import json
import sys

from tests.envcheck.bench import Bench

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             unlimited            unlimited            processes
Max open files            1048576              1048576              files
Max locked memory         {memlock:<20} {memlock:<20} bytes
"""
STATUS = "Name:\tpython\nUid:\t0\t0\t0\t0\nCpus_allowed_list:\t{cpus}\n"
GROUP = "/sys/fs/cgroup/job"
ROLES = ("run", "temporary", "home", "triton", "inductor", "huggingface")
FOLDER = {"exists": True, "free_bytes": 1 << 40, "total_bytes": 1 << 41, "free_inodes": 9999, "total_inodes": 9999}


def system(bench: Bench) -> None:
    """A container of cgroup v2 with 32 processors on two sockets, memory and processes to spare."""
    bench.file("/proc/self/limits", LIMITS.format(memlock="unlimited"))
    bench.file("/proc/self/status", STATUS.format(cpus="0-31"))
    bench.file("/proc/1/comm", "tini")
    bench.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    bench.file("/proc/self/cgroup", "0::/job\n")
    bench.file("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids")
    bench.file(f"{GROUP}/cpu.max", "max 100000")
    bench.file(f"{GROUP}/memory.max", str(64 << 30))
    bench.file(f"{GROUP}/memory.current", str(30 << 30))
    bench.file(f"{GROUP}/memory.stat", f"anon 1\ninactive_file {29 << 30}\n")
    bench.file(f"{GROUP}/memory.events", "low 0\noom 0\noom_kill 0\n")
    bench.file(f"{GROUP}/pids.max", "max")
    bench.file(f"{GROUP}/pids.current", "12")
    for node, cpus in enumerate(("0-15", "16-31")):
        bench.file(f"/sys/devices/system/node/node{node}/cpulist", cpus)
    bench.file("/sys/class/net/lo/flags", "0x9")
    bench.file("/sys/class/net/lo/mtu", "65536")
    bench.environ["HOME"] = "/home/me"
    folders(bench)


def folders(bench: Bench, role: str = "run", real: str = "/", filesystem: str = "ext4") -> None:
    """What the storage probe says, with one folder on a file system of its own."""
    answers = {name: {**FOLDER, "real": real if name == role else "/"} for name in ROLES}
    bench.answer(f"{sys.executable} -I -S", json.dumps(answers))
    mount = real.rpartition("/")[0] or "/"
    bench.file(
        "/proc/self/mountinfo",
        f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:40 / {mount} rw,noatime - {filesystem} server:/export rw\n",
    )


def rdma_port(bench: Bench, device: str = "mlx5_0", layer: str = "InfiniBand", **files: str) -> None:
    """One active port; `files` are further ones of its folder."""
    told = {"state": "4: ACTIVE", "link_layer": layer, "rate": "400 Gb/sec (4X NDR)", **files}
    for name, text in told.items():
        bench.file(f"/sys/class/infiniband/{device}/ports/1/{name}", text)
