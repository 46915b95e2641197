"""Whole machines on paper to plant faults in; their figures follow public examples and are synthetic."""

from __future__ import annotations

from tests.envcheck.bench import Bench

H100 = "NVIDIA H100 80GB HBM3"
DRIVER = "580.95.05"


def h100_node(bench: Bench, gpus: int = 8) -> None:
    """A node of eight H100 whose every source is healthy."""
    driver_version(bench, DRIVER)
    bench.file(f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}", "")
    bench.file("/proc/modules", "nvidia_uvm 1 0 - Live 0x0\nnvidia 1 1 nvidia_uvm, Live 0x0\n")
    for name in ("nvidiactl", "nvidia-uvm"):
        bench.file(f"/dev/{name}", "")
    for index in range(gpus):
        bench.file(f"/dev/nvidia{index}", "")
        pci_gpu(bench, f"0000:{0x10 + index:02x}:00.0")
    bench.file("/dev/nvidiactl", "")
    bench.answer("nvidia-smi -q -x", smi_log([smi_gpu(index) for index in range(gpus)]))


def driver_version(bench: Bench, version: str) -> None:
    bench.file(
        "/proc/driver/nvidia/version",
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@U22-I3)\n",
    )


def pci_gpu(bench: Bench, address: str) -> None:
    folder = f"/sys/bus/pci/devices/{address}"
    bench.file(f"{folder}/vendor", "0x10de\n")
    bench.file(f"{folder}/class", "0x030200\n")


def smi_gpu(index: int, name: str = H100, **parts: str) -> str:
    """One GPU of nvidia-smi's XML; `parts` are further elements, as XML."""
    return (
        f'<gpu id="00000000:{0x10 + index:02X}:00.0"><product_name>{name}</product_name><uuid>GPU-{index}</uuid>'
        + "".join({**HEALTHY, **parts}.values())
        + "</gpu>"
    )


def smi_log(gpus: list[str], driver: str = DRIVER, cuda: str = "13.0") -> str:
    return (
        f"<?xml version='1.0' ?><nvidia_smi_log><driver_version>{driver}</driver_version>"
        f"<cuda_version>{cuda}</cuda_version>{''.join(gpus)}</nvidia_smi_log>"
    )


HEALTHY = {
    "memory": "<fb_memory_usage><total>81559 MiB</total><used>1 MiB</used></fb_memory_usage>",
    "persistence": "<persistence_mode>Enabled</persistence_mode>",
    "compute": "<compute_mode>Default</compute_mode>",
    "mig": "<mig_mode><current_mig>Disabled</current_mig></mig_mode>",
    "ecc": "<ecc_errors><volatile><sram_uncorrectable_parity>0</sram_uncorrectable_parity>"
    "<dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>",
    "remap": "<remapped_rows><remapped_row_pending>No</remapped_row_pending>"
    "<remapped_row_failure>No</remapped_row_failure></remapped_rows>",
    "clocks": "<clocks_event_reasons><clocks_event_reason_hw_slowdown>Not Active</clocks_event_reason_hw_slowdown>"
    "</clocks_event_reasons>",
    "fabric": "<fabric><state>Completed</state></fabric>",
    "temperature": "<temperature><gpu_temp>34 C</gpu_temp></temperature>",
    "processes": "<processes></processes>",
}


def cuda_torch(bench: Bench, torch: str = "2.13.0", cuda: str = "13.0", nccl: str = "2.29.7") -> None:
    """The metadata of a CUDA build of torch and of the wheels it wants."""
    bench.file("/site-packages/torch/version.py", f"__version__ = '{torch}'\ncuda: Optional[str] = '{cuda}'\n")
    requires = 'Requires-Python: >=3.9\nRequires-Dist: nvidia-nccl-cu13==2.29.7; platform_system == "Linux"\n'
    bench.distribution("torch", torch, requires)
    wheel_library(bench, "nvidia-nccl-cu13", nccl, "nvidia/nccl/lib/libnccl.so.2")
    wheel_library(bench, "nvidia-cudnn-cu13", "9.20.0.48", "nvidia/cudnn/lib/libcudnn.so.9")


def wheel_library(bench: Bench, name: str, version: str, path: str, content: str = "code") -> None:
    """A distribution that brings one shared library, with its true size in RECORD."""
    bench.file(f"/site-packages/{path}", content)
    bench.distribution(name, version, record=f"{path},sha256=x,{len(content)}\n")


def h100_node_with_torch(bench: Bench) -> None:
    h100_node(bench)
    cuda_torch(bench)


def gpus(bench: Bench, *models: str, driver: str = DRIVER, cuda: str = "13.0", **parts: str) -> None:
    """What nvidia-smi says: these models, every one of them with these XML parts."""
    bench.file("/dev/nvidiactl", "")
    told = [smi_gpu(index, name, **parts) for index, name in enumerate(models)]
    bench.answer("nvidia-smi -q -x", smi_log(told, driver, cuda))
