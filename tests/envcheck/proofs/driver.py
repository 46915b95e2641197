"""Faults of the driver and of the GPUs' visibility."""

from __future__ import annotations

from tests.envcheck.bench import Bench
from tests.envcheck.paper import driver_version, h100_node, smi_gpu, smi_log
from tests.envcheck.proof import fake, natural


def without_device_nodes(bench: Bench) -> None:
    for index in range(8):
        bench.remove(f"/dev/nvidia{index}")
    bench.remove("/dev/nvidiactl")
    bench.remove("/dev/nvidia-uvm")


PROOFS = [
    fake(
        "DRV004",
        "F04",
        "the module of before the upgrade",
        "the kernel module is 570.86.15, the library 580.95.05",
        base=h100_node,
        plant=lambda bench: driver_version(bench, "570.86.15"),
    ),
    fake(
        "DRV005",
        "F05",
        "eight GPUs on the PCI bus and none under dev",
        "8 NVIDIA GPUs",
        base=h100_node,
        plant=without_device_nodes,
    ),
    natural(
        "DRV009",
        "F09",
        "CUDA_VISIBLE_DEVICES=-1",
        "hides every GPU",
        fault={"environ": {"CUDA_VISIBLE_DEVICES": "-1"}},
        healthy={"environ": {"CUDA_VISIBLE_DEVICES": "0"}},
    ),
    fake(
        "DRV011",
        "F11",
        "nvidia-smi lists 7 of 8",
        "this one has 7",
        base=lambda bench: (h100_node(bench), bench.wants(device="cuda", procs_per_node=8)),
        plant=lambda bench: bench.answer("nvidia-smi -q -x", smi_log([smi_gpu(index) for index in range(7)])),
    ),
]
