"""Machines of which a check must not complain though half of its condition holds, and those it cannot judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from envcheck.check import REGISTRY, Status
from envcheck.facts import Facts
from envcheck.sections.gpus import PciGpu
from envcheck.sections.libraries import Expectation
from envcheck.sections.network import Interface
from envcheck.sections.torch import TorchDevice
from tests.envcheck.bench import Bench
from tests.envcheck.paper import (
    H100,
    cuda_torch,
    driver_version,
    gpus,
    h100_node,
    h100_node_with_torch,
    pci_gpu,
    smi_gpu,
    smi_log,
)
from tests.envcheck.proofs.driver import RTX, compat_library, image_requires, nvswitches
from tests.envcheck.proofs.driver_visibility import docker_host, without_device_nodes
from tests.envcheck.proofs.gpu import PROCESS, bridge, ecc, infiniband, iommu, link
from tests.envcheck.proofs.job import BEFORE
from tests.envcheck.proofs.libraries import cpu_torch

Step = Callable[[Bench], object]


class Quiet(NamedTuple):
    """`steps` make the machine; the check must say `status` of it, which is never FAIL or WARN."""

    check: str
    how: str
    steps: tuple[Step, ...]
    status: Status = Status.PASS

    def facts(self, bench: Bench) -> Facts:
        for step in self.steps:
            step(bench)
        judged = REGISTRY[self.check]
        return bench.facts([*judged.requires, *judged.wishes])

    def __str__(self) -> str:
        return f"{self.check}-{self.how.replace(' ', '_')}"


def quiet(check: str, how: str, *steps: Step) -> Quiet:
    return Quiet(check, how, steps)


def blind(check: str, how: str, *steps: Step) -> Quiet:
    return Quiet(check, how, steps, Status.UNKNOWN)


def wants(**needs: object) -> Step:
    return lambda bench: bench.wants(**needs)


def variable(**variables: str) -> Step:
    return lambda bench: bench.environ.update(variables)


def change(section: str, **fields: object) -> Step:
    return lambda bench: bench.change(section, **fields)


def models(*names: str, **parts: str) -> Step:
    return lambda bench: gpus(bench, *names, **parts)


LOOPBACK_NAME = change("names", addresses=("127.0.1.1",))


def no_devices(bench: Bench) -> None:
    bench.answer("nvidia-smi -q -x", "No devices were found\n", returncode=6)


def links_of(*speeds: str) -> Step:
    def build(bench: Bench) -> None:
        for index, speed in enumerate(speeds):
            link(bench, f"0000:{0x10 + index:02x}:00.0", speed=speed)

    return build


BRIDGE_AND_CARDS = change(
    "network",
    interfaces=(
        Interface("virbr0", up=True, mtu=1500, address="192.168.122.1/24"),
        Interface("eth0", up=True, mtu=1500, address="10.9.0.1/24"),
        Interface("eth1", up=True, mtu=1500, address="10.9.0.7/24"),
    ),
)


def installed(name: str, version: str) -> Step:
    return lambda bench: bench.distribution(name, version)


def no_pci_bus(bench: Bench) -> None:
    (bench.root / "sys/bus/pci/devices").rmdir()


def module(version: str) -> Step:
    return lambda bench: driver_version(bench, version)


TORCH_ONLY = {"version": "2.13.0", "cuda": "13.0"}


def used_second_gpu(bench: Bench) -> None:
    """Two GPUs, of which somebody uses the second."""
    told = [smi_gpu(0), smi_gpu(1, processes=f"<processes>{PROCESS}</processes>")]
    bench.file("/dev/nvidiactl", "")
    bench.answer("nvidia-smi -q -x", smi_log(told))


def used_by_its_own_look_at_torch(bench: Bench) -> None:
    gpus(bench, H100, processes=f"<processes>{PROCESS}</processes>")
    bench.file("/proc/4242/environ", "HOME=/root\0LAUNCHER_RUN=this\0")
    bench.own = "LAUNCHER_RUN=this"


def compat_on_old_driver(bench: Bench) -> None:
    compat_library(bench, H100)
    gpus(bench, H100, driver="535.104.05", cuda="12.2")
    cuda_torch(bench)


QUIET = [
    quiet("DRV001", "a compat library lifts the old driver", compat_on_old_driver),
    quiet("DRV001", "a torch without CUDA", h100_node, cpu_torch),
    quiet("DRV002", "a torch without CUDA", h100_node, cpu_torch),
    quiet("GPU006", "a neighbour on a GPU the job does not use", used_second_gpu, wants(device="cuda")),
    quiet("GPU006", "what the same run does on the GPU meanwhile", h100_node, used_by_its_own_look_at_torch),
    quiet("GPU014", "an IOMMU and one GPU", lambda bench: iommu(bench), change("pci", gpus=(PciGpu("0000:10:00.0"),))),
    quiet("DRV004", "a library without a module", change("driver", user_library="580.95.05")),
    quiet("DRV004", "a module without a library", module("580.95.05")),
    quiet(
        "DRV004",
        "a compat library is newer by intent",
        h100_node,
        module("570.86.15"),
        change("driver", compat_library="/c/libcuda.so.1"),
    ),
    quiet("DRV005", "no GPU on the bus", lambda bench: None),
    quiet("DRV005", "a job for the CPU", h100_node, without_device_nodes, wants(device="cpu")),
    quiet("DRV005", "a hidden bus with device nodes", no_pci_bus, lambda bench: bench.file("/dev/nvidia0", "")),
    blind("DRV005", "a hidden bus", no_pci_bus),
    quiet(
        "DRV006",
        "inside a container",
        docker_host,
        lambda bench: bench.file("/etc/docker/daemon.json", "{}"),
        change("host", container="docker"),
    ),
    quiet("DRV006", "a docker host without a driver", lambda bench: bench.file("/etc/docker/daemon.json", "{}")),
    quiet("DRV006", "no docker", h100_node),
    quiet(
        "DRV006",
        "CDI in place of the runtime",
        docker_host,
        lambda bench: bench.file("/etc/docker/daemon.json", "{}"),
        lambda bench: bench.file("/etc/cdi/nvidia.yaml", "path: /dev/nvidia0"),
    ),
    quiet("DRV008", "no GPU", lambda bench: None),
    quiet("DRV009", "a job for the CPU", variable(CUDA_VISIBLE_DEVICES=""), wants(device="cpu")),
    quiet("DRV009", "the variable unset", lambda bench: None),
    quiet("DRV011", "a job for the CPU", wants(device="cpu", procs_per_node=8)),
    quiet("DRV011", "a job that takes what there is", wants(device="auto", procs_per_node=8), models(H100)),
    quiet(
        "DRV011",
        "a driver that gives no answer",
        h100_node,
        wants(device="cuda", procs_per_node=8),
        change("gpus", error="Unknown Error", devices=()),
    ),
    quiet(
        "DRV011",
        "a container given two of eight",
        h100_node,
        models(H100, H100),
        change("driver", device_nodes=("nvidia0", "nvidia1", "nvidia-uvm")),
    ),
    quiet("DRV012", "a job for the CPU", variable(NVIDIA_DRIVER_CAPABILITIES="utility"), wants(device="cpu")),
    quiet("DRV013", "an image that asks for nothing", h100_node),
    blind(
        "DRV013",
        "a brand that nothing tells",
        models("NVIDIA RTX A6000", driver="535.104.05", cuda="12.2"),
        variable(**image_requires("cuda>=12.8 brand=nvidiartx,driver>=535,driver<536")),
    ),
    quiet(
        "DRV013",
        "the requirement switched off",
        h100_node,
        variable(**image_requires("cuda>=99.0"), NVIDIA_DISABLE_REQUIRE="1"),
    ),
    quiet(
        "DRV014",
        "another complaint of the same function",
        lambda bench: bench.answer("dmesg", "nvidia: request_free_mem_region ok\nnvidia: err -34\n"),
    ),
    quiet("DRV015", "another error of CUDA", h100_node, change("torch", cuda_failure="RuntimeError: Error 999")),
    quiet(
        "DRV015",
        "no fabric manager in the container",
        lambda bench: nvswitches(bench, ""),
        lambda bench: bench.answers.pop("nv-fabricmanager"),
    ),
    quiet("DRV016", "a torch without CUDA", models(H100), cpu_torch),
    blind("DRV016", "a torch the tables do not know", models(H100), lambda bench: cuda_torch(bench, "2.5.1", "12.4")),
    quiet("DRV016", "a torch imported without an arch list", h100_node_with_torch, change("torch", arch_list=())),
    blind("DRV017", "GPUs nobody can count", wants(device="cuda", procs_per_node=2), no_pci_bus),
    quiet("GPU001", "a GeForce without error counters", models(RTX, ecc=ecc("N/A"))),
    quiet(
        "GPU008",
        "MIG and a job for the CPU",
        models(H100, mig="<mig_mode><current_mig>Enabled</current_mig></mig_mode>"),
        wants(device="cpu"),
    ),
    quiet("DRV018", "a job for the CPU", h100_node, no_devices, wants(device="cpu")),
    quiet("GPU011", "an idle GeForce beside a busy one", models(RTX, RTX), links_of("2.5 GT/s PCIe", "16.0 GT/s PCIe")),
    quiet("GPU011", "a bus that tells no widths", lambda bench: pci_gpu(bench, "0000:10:00.0")),
    quiet(
        "GPU013",
        "ACS on a guest",
        lambda bench: bridge(bench, 0x1D),
        lambda bench: bench.file("/proc/cpuinfo", "flags : hypervisor\n"),
    ),
    quiet("GPU013", "ACS and a single GPU", lambda bench: bridge(bench, 0x1D), change("pci", gpus=())),
    quiet("GPU014", "an IOMMU and a single GPU", lambda bench: iommu(bench), change("pci", gpus=())),
    quiet("GPU015", "one RTX 4090", models(RTX, driver="535.104.05")),
    quiet("GPU015", "peer-to-peer switched off", models(RTX, RTX, driver="535.104.05"), variable(NCCL_P2P_DISABLE="1")),
    quiet("GPU016", "no InfiniBand", h100_node),
    quiet("GPU016", "DMA-BUF of the open driver", infiniband, module("580.95.05")),
    quiet("NET001", "a launcher that chooses the interface", wants(nodes=2, interface_chosen=True), LOOPBACK_NAME),
    quiet("NET008", "a bridge the launcher passes over", wants(nodes=2, interface_chosen=True), BRIDGE_AND_CARDS),
    quiet("NET009", "cards of which the launcher chooses one", wants(nodes=2, interface_chosen=True), BRIDGE_AND_CARDS),
    quiet("JOB002", "no batch size told", wants(procs_per_node=3)),
    quiet("JOB003", "a new run", h100_node_with_torch, wants(numerics="exact")),
    blind(
        "JOB003",
        "GPUs that cannot be seen",
        lambda bench: cuda_torch(bench),
        wants(previous=BEFORE, procs_per_node=8),
        no_pci_bus,
    ),
    quiet(
        "JOB003",
        "a run of the CPU",
        lambda bench: cuda_torch(bench),
        wants(previous={"gpu": "none", "torch": "2.13.0"}),
    ),
    quiet(
        "LIB002",
        "a torch without wheels of NVIDIA",
        change("torch", **TORCH_ONLY, mapped={"libcudart": ["/opt/conda/lib/libcudart.so"]}),
    ),
    quiet("LIB004", "an NCCL that does not answer", lambda bench: cuda_torch(bench), change("torch", **TORCH_ONLY)),
    quiet(
        "LIB008",
        "a CPU torch without GPUs",
        lambda bench: bench.file("/site-packages/torch/version.py", "__version__ = '2.13.0+cpu'\n"),
    ),
    quiet("LIB008", "a CPU torch for a job of the CPU", cpu_torch, wants(device="cpu")),
    quiet("LIB008", "no torch", h100_node),
    quiet("LIB010", "torchvision without torch", installed("torchvision", "0.20.0")),
    quiet("LIB010", "torch without torchvision", lambda bench: cuda_torch(bench)),
    quiet(
        "LIB010",
        "torchvision that misses something else",
        lambda bench: cuda_torch(bench),
        lambda bench: bench.distribution("torchvision", "0.28.0", "Requires-Dist: pillow>=99\n"),
    ),
    quiet("LIB013", "no nvcc", lambda bench: cuda_torch(bench)),
    quiet("LIB013", "a torch without CUDA", lambda bench: bench.answer("/usr/local/cuda/bin/nvcc", "release 11.8,")),
    blind("LIB015", "a C library that is not glibc", change("host", glibc=None)),
    quiet("LIB021", "a device without a product", change("torch", devices=(TorchDevice("cpu"),))),
    quiet("LIB022", "a cuDNN without a wheel", change("torch", **TORCH_ONLY, cudnn="9.1.0")),
    quiet("LIB022", "no cuDNN", lambda bench: cuda_torch(bench), change("torch", **TORCH_ONLY)),
    quiet(
        "LIB023",
        "the same version on another machine",
        change("host", architecture="x86_64"),
        installed("nvidia-nccl-cu13", "2.28.9"),
    ),
    quiet(
        "LIB023",
        "another library of that version",
        change("host", architecture="aarch64"),
        installed("nvidia-cudnn-cu13", "2.0"),
    ),
    quiet(
        "LIB024",
        "a later patch of the same CUDA",
        lambda bench: cuda_torch(bench),
        lambda bench: bench.given.update(expectation=Expectation("images/cu130", {"cuda": "13.0.1"})),
    ),
    quiet("LIB027", "a CUDA torch without GPUs", change("torch", **TORCH_ONLY)),
    quiet("LIB027", "a CPU torch with GPUs", h100_node, change("torch", version="2.13.0+cpu")),
    quiet(
        "LIB028",
        "a torch that could not be imported",
        lambda bench: cuda_torch(bench),
        change("torch", failure="ImportError"),
    ),
    quiet("LIB028", "a torch without metadata", change("torch", **TORCH_ONLY)),
]
