"""The machines whose facts are kept under data/, how they are made, and what envcheck says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from envcheck.check import Status
from envcheck.checks import every_check
from envcheck.facts import Facts
from envcheck.sections.container import Cgroup, Limits, Process
from envcheck.sections.network import Interface, Names, Network, Rendezvous
from envcheck.sections.storage import Folder, Storage
from envcheck.sections.torch import TorchDevice
from tests.envcheck.bench import Bench
from tests.envcheck.paper import H100, cuda_torch, driver_version, gpus, h100_node, pci_gpu

FAIL, WARN, UNKNOWN = Status.FAIL, Status.WARN, Status.UNKNOWN
ARCHS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
COLLECTED = (
    "host", "python", "environment", "driver", "gpus", "pci", "kernel_log", "engine", "packages", "libraries", "job"
)  # fmt: skip
GIB = 1 << 30
FOLDERS = {"home": "/home/user", "run": "runs", "temporary": "/tmp"}


class Surroundings(NamedTuple):
    """What the collectors would read off the machine the test runs on, told for the machine on paper."""

    cpus: int
    memory: int
    shm: int
    container: bool = False

    def sections(self) -> dict[str, Any]:
        home = Folder(
            "/home/user",
            exists=True,
            filesystem="ext4",
            free_bytes=400 * GIB,
            total_bytes=900 * GIB,
            free_inodes=9_000_000,
            total_inodes=10_000_000,
        )
        folders = {name: dataclasses.replace(home, path=path) for name, path in FOLDERS.items()}
        quota = {"cpu_quota": None, "memory_limit": self.memory, "memory_used": 2 * GIB} if self.container else {}
        return {
            "limits": Limits(nofile=1048576, nofile_hard=1048576, memlock=-1, may_lock=True, processes=-1,
                             cpus=self.cpus, shm_bytes=self.shm, shm_free_bytes=self.shm),
            "cgroup": Cgroup(version=2, oom_kills=0, pids_limit=None, **quota),
            "process": Process(uid=1000, user="user", init="tini" if self.container else "systemd"),
            "storage": Storage(folders),
            "network": Network(interfaces=(
                Interface("lo", up=True, mtu=65536, loopback=True, address="127.0.0.1/8"),
                Interface("eth0", up=True, mtu=1500, physical=not self.container, address="10.0.0.11/24"),
            ), ipv6_loopback=True),
            "names": Names("paper", addresses=("10.0.0.11",), fqdn="paper.example.org", localhost=("127.0.0.1",),
                           reverse="10.0.0.11", reverse_seconds=0.001),
            "rendezvous": Rendezvous("localhost", 29500, addresses=("127.0.0.1",), here=True),
        }  # fmt: skip


SERVER = Surroundings(cpus=192, memory=0, shm=1024 * GIB)
DESKTOP = Surroundings(cpus=16, memory=0, shm=32 * GIB)
CONTAINER = Surroundings(cpus=24, memory=200 * GIB, shm=16 * GIB, container=True)
PLAIN_CONTAINER = CONTAINER._replace(shm=64 << 20)


class KeptMachine(NamedTuple):
    """How the facts are made, and every outcome that is not PASS."""

    build: Callable[[Bench], None]
    surroundings: Surroundings
    verdict: dict[str, Status]

    def facts(self, bench: Bench) -> Facts:
        bench.environ = {"HOME": "/home/user", "PATH": "/usr/bin", "LANG": "C.UTF-8"}
        bench.answer("dmesg", "")
        self.build(bench)
        bench.given.update(self.surroundings.sections())
        seen = bench.facts(COLLECTED)
        python = dataclasses.replace(seen.get("python"), executable="/venv/bin/python", prefix="/venv", path=())
        packages = dataclasses.replace(seen.get("packages"), torch_folder="/venv/lib/python3.11/site-packages/torch")
        tiers = ("static", "torch") if seen.get("torch") else ("static",)
        seen = dataclasses.replace(seen, note="synthetic", tiers=tiers, collected_at="2026-11-21T00:00:00Z")
        return seen.with_section("python", python).with_section("packages", packages)


def eight_h100(bench: Bench) -> None:
    h100_node(bench)
    cuda_torch(bench)
    imported(bench, "NVIDIA H100 80GB HBM3", "9.0", 8)


def rtx_4090(bench: Bench) -> None:
    """A workstation with one card, an older driver, no persistence daemon."""
    driver_version(bench, "560.35.03")
    pci_gpu(bench, "0000:01:00.0")
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        bench.file(f"/dev/{name}", "")
    off = "<persistence_mode>Disabled</persistence_mode>"
    none = "<ecc_errors></ecc_errors>"
    gpus(bench, "NVIDIA GeForce RTX 4090", driver="560.35.03", cuda="12.6", persistence=off, ecc=none)
    cuda_torch(bench)


def mig_slice(bench: Bench) -> None:
    """A container that was given one slice of an H100, and a log it may not read."""
    driver_version(bench, "580.95.05")
    pci_gpu(bench, "0000:1b:00.0")
    for name in ("nvidia3", "nvidiactl", "nvidia-uvm"):
        bench.file(f"/dev/{name}", "")
    slices = "<mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices><mig_device>"
    slices += "<gpu_instance_id>9</gpu_instance_id></mig_device></mig_devices>"
    gpus(bench, H100, mig=slices)
    bench.answer("dmesg", stderr="dmesg: read kernel buffer failed: Operation not permitted\n", returncode=1)
    bench.file("/.dockerenv", "")
    cuda_torch(bench)
    imported(bench, "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "9.0", 1)


def container_without_gpus(bench: Bench) -> None:
    """The most frequent fault of all: the host has GPUs and `--gpus all` was forgotten."""
    driver_version(bench, "580.95.05")
    for index in range(4):
        pci_gpu(bench, f"0000:{0x10 + index:02x}:00.0")
    bench.file("/.dockerenv", "")
    bench.answer("dmesg", stderr="dmesg: read kernel buffer failed: Operation not permitted\n", returncode=1)
    cuda_torch(bench)


def laptop(bench: Bench) -> None:
    """No GPU, a CPU wheel: nothing to complain of."""
    bench.file("/site-packages/torch/version.py", "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")
    bench.distribution("torch", "2.13.0+cpu", "Requires-Python: >=3.9\n")


def imported(bench: Bench, model: str, capability: str, count: int) -> None:
    devices = [TorchDevice(f"cuda:{i}", model, capability, matmul_error=3.1e-4) for i in range(count)]
    bench.change(
        "torch",
        version="2.13.0",
        cuda="13.0",
        cuda_available=True,
        cudnn="9.20.0",
        nccl="2.29.7",
        gloo=True,
        arch_list=ARCHS,
        numpy="2.4.6",
        devices=(TorchDevice("cpu", matmul_error=0.0), *devices),
    )


BLIND_WITHOUT_NVML = [one.id for one in every_check() if "gpus" in one.requires and one.tier == "static"]

MACHINES = {
    "h100x8": KeptMachine(eight_h100, SERVER, {}),
    "rtx4090": KeptMachine(rtx_4090, DESKTOP, {"DRV001": FAIL, "GPU007": WARN}),
    "h100-mig-slice": KeptMachine(mig_slice, CONTAINER, {"GPU003": UNKNOWN, "DRV014": UNKNOWN}),
    "container-without-gpus": KeptMachine(
        container_without_gpus,
        PLAIN_CONTAINER,
        {"DRV005": FAIL, "CTR001": WARN, **dict.fromkeys(BLIND_WITHOUT_NVML, UNKNOWN), "DRV014": UNKNOWN},
    ),
    "cpu-laptop": KeptMachine(laptop, DESKTOP, {}),
}
