"""Faults of the driver: too old, half upgraded, not met by the image, not made for the GPU."""

from __future__ import annotations

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.paper import (
    DRIVER,
    H100,
    cuda_torch,
    driver_version,
    gpus,
    h100_node,
    h100_node_with_torch,
    pci_gpu,
)
from tests.envcheck.proof import fake

RTX = "NVIDIA GeForce RTX 4090"
FABRIC_WAITS = "<fabric><state>In Progress</state></fabric>"


def image_requires(text: str) -> dict[str, str]:
    return {"NVIDIA_REQUIRE_CUDA": text}


def nvswitches(bench: Bench, fabric_manager: str) -> None:
    h100_node(bench)
    bench.file("/sys/bus/pci/devices/0000:05:00.0/vendor", "0x10de")
    bench.file("/sys/bus/pci/devices/0000:05:00.0/class", "0x068000")
    bench.answer("nv-fabricmanager", f"Fabric Manager version is : {fabric_manager}\n")


def compat_library(bench: Bench, gpu: str) -> None:
    gpus(bench, gpu)
    pci_gpu(bench, "0000:10:00.0")
    bench.file("/usr/local/cuda-13.0/compat/libcuda.so.580.65.06", "")
    bench.environ["LD_LIBRARY_PATH"] = "/usr/local/cuda-13.0/compat"


PROOFS = [
    fake(
        "DRV001",
        "F01",
        "nvidia-smi tells of driver 535 beside a cu130 torch",
        "535.104.05 is older than 580.65.06",
        base=h100_node_with_torch,
        plant=lambda bench: gpus(bench, H100, driver="535.104.05", cuda="12.2"),
    ),
    fake(
        "DRV002",
        "F02",
        "nvidia-smi tells of driver 525 beside a cu128 torch",
        "complete from 570.26",
        base=lambda bench: (h100_node(bench), cuda_torch(bench, "2.10.0", "12.8")),
        plant=lambda bench: gpus(bench, H100, driver="525.60.13", cuda="12.0"),
    ),
    fake(
        "DRV003",
        "F03",
        "a compat folder in LD_LIBRARY_PATH beside a GeForce",
        "RTX 4090",
        cure=lambda bench: compat_library(bench, H100),
        plant=lambda bench: compat_library(bench, RTX),
    ),
    fake(
        "DRV004",
        "F04",
        "the kernel module of before the upgrade",
        "the kernel module is 570.86.15, the library 580.95.05",
        base=h100_node,
        plant=lambda bench: driver_version(bench, "570.86.15"),
    ),
    fake(
        "DRV013",
        "F13",
        "an image variable that asks for a newer CUDA",
        "gives CUDA 13.0",
        base=h100_node,
        plant=lambda bench: bench.environ.update(image_requires("cuda>=13.2 brand=tesla,driver>=590,driver<591")),
        cure=lambda bench: bench.environ.update(image_requires("cuda>=13.2 brand=tesla,driver>=580,driver<581")),
    ),
    fake(
        "DRV014",
        "F14",
        "the kernel's line about request_free_mem_region",
        "err -34",
        plant=lambda bench: bench.answer("dmesg", "[1.0] nvidia_uvm: request_free_mem_region() err -34\n"),
        cure=lambda bench: bench.answer("dmesg", "[1.0] nvidia_uvm: Loaded the UVM driver\n"),
        kind="R",
    ),
    fake(
        "DRV015",
        "F15",
        "a fabric that is still in progress",
        "the fabric of GPU 0 is in_progress",
        base=h100_node,
        plant=lambda bench: gpus(bench, H100, fabric=FABRIC_WAITS),
    ),
    fake(
        "DRV015",
        "F15",
        "a fabric manager of another version",
        "the fabric manager is 570.86.15",
        plant=lambda bench: nvswitches(bench, "570.86.15"),
        cure=lambda bench: nvswitches(bench, DRIVER),
    ),
    fake(
        "DRV015",
        "F15",
        "error 802 from torch",
        "802",
        base=h100_node,
        plant=lambda bench: bench.change("torch", cuda_failure="RuntimeError: Error 802: system not yet initialized"),
    ),
    fake(
        "DRV016",
        "F16",
        "an RTX 5090 beside a cu126 torch, by the table",
        "RTX 5090 is sm_120",
        base=lambda bench: cuda_torch(bench, "2.11.0", "12.6"),
        plant=lambda bench: gpus(bench, "NVIDIA GeForce RTX 5090"),
        cure=lambda bench: gpus(bench, H100),
    ),
    fake(
        "DRV016",
        "F16",
        "torch's own arch list without the GPU",
        "is sm_90",
        base=h100_node_with_torch,
        plant=lambda bench: bench.change("torch", arch_list=("sm_70", "sm_80", "sm_86")),
        cure=lambda bench: bench.change("torch", arch_list=("sm_80", "compute_86")),
    ),
    fake(
        "DRV016",
        "F16",
        "a wheel for a V100 that dropped it",
        "is sm_70",
        base=lambda bench: gpus(bench, "Tesla V100-SXM2-16GB"),
        plant=lambda bench: cuda_torch(bench, "2.13.0", "13.0"),
        cure=lambda bench: cuda_torch(bench, "2.10.0", "12.8"),
    ),
    fake(
        "DRV016",
        "F16",
        "a GPU the tables do not know",
        "nothing tells the capability",
        base=lambda bench: cuda_torch(bench),
        plant=lambda bench: gpus(bench, "NVIDIA Z9000"),
        cure=lambda bench: gpus(bench, H100),
        status=Status.UNKNOWN,
    ),
]
