"""GPU machines of every kind as NVML tells of them, and what the checks may say of each: no fault where none is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from envcheck.check import Status
from envcheck.checks import every_check
from tests.envcheck.bench import Bench
from tests.envcheck.paper import driver_version, pci_gpu

FAIL, WARN, UNKNOWN = Status.FAIL, Status.WARN, Status.UNKNOWN
NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, LOST, UNKNOWN_ERROR = 3, 4, 6, 15, 999


class NvmlMachine(NamedTuple):
    """`stub`: the variables of stub_nvml.c; `errors`: the functions that fail; `verdict`: every outcome but PASS."""

    build: Callable[[Bench], None]
    stub: Mapping[str, str]
    errors: Mapping[str, int]
    verdict: Mapping[str, Status]


def on_the_bus(*gpus: str, driver: str = "580.95.05", nodes: tuple[str, ...] = ()) -> Callable[[Bench], None]:
    """A Linux machine with GPUs at these PCI addresses and device nodes for as many, or for those named."""

    def build(bench: Bench) -> None:
        driver_version(bench, driver)
        bench.file(f"/usr/lib/x86_64-linux-gnu/libcuda.so.{driver}", "")
        for address in gpus:
            pci_gpu(bench, address)
        for name in ("nvidiactl", "nvidia-uvm", *(nodes or [f"nvidia{index}" for index in range(len(gpus))])):
            bench.file(f"/dev/{name}", "")

    return build


def wsl(bench: Bench) -> None:
    """Windows' driver behind /dev/dxg: no kernel module, no device nodes, nothing of NVIDIA on the PCI bus."""
    bench.file("/dev/dxg", "")
    for name in ("libcuda.so.1.1", "libnvidia-ml.so.1"):
        bench.file(f"/usr/lib/wsl/lib/{name}", "")


def jetson(bench: Bench) -> None:
    """An integrated GPU: no PCI, device nodes for the display only, a driver numbered by JetPack."""
    bench.file("/proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    driver_version(bench, "540.4.0")
    for name in ("nvidiactl", "nvidia0", "nvidia-modeset"):
        bench.file(f"/dev/{name}", "")


H100 = {"NAME": "NVIDIA H100 80GB HBM3", "DRIVER": "580.95.05"}
RTX = {"NAME": "NVIDIA GeForce RTX 4090", "DRIVER": "580.95.05", "MAJOR": "8", "MINOR": "9", "LINKS": "0"}
CONSUMER = dict.fromkeys(
    ["nvmlDeviceGetTotalEccErrors", "nvmlDeviceGetMigMode", "nvmlDeviceGetRemappedRows", "nvmlDeviceGetGpuFabricInfo"],
    NOT_SUPPORTED,
)
BARE = {**CONSUMER, **dict.fromkeys(
    ["nvmlDeviceGetPersistenceMode", "nvmlDeviceGetComputeMode", "nvmlDeviceGetComputeRunningProcesses_v3",
     "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature", "nvmlDeviceGetCurrentClocksThrottleReasons"],
    NOT_SUPPORTED,
)}  # fmt: skip
IN_A_SLICE = dict.fromkeys(
    ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetTotalEccErrors",
     "nvmlDeviceGetRemappedRows"],
    NO_PERMISSION,
)  # fmt: skip
ORIN = {**RTX, "NAME": "Orin (nvgpu)", "DRIVER": "540.4.0", "MINOR": "7"}
NO_ANSWER = {one.id: UNKNOWN for one in every_check() if one.only_with_gpus and "packages" not in one.requires}
ONE, TWO = ("0000:10:00.0",), ("0000:10:00.0", "0000:11:00.0")

MACHINES = {
    "a healthy H100": NvmlMachine(on_the_bus(*ONE), H100, {}, {}),
    "a GeForce, which supports less": NvmlMachine(on_the_bus(*ONE), RTX, CONSUMER, {}),
    "a GeForce whose pynvml or driver lacks the newer functions": NvmlMachine(
        on_the_bus(*ONE), RTX, dict.fromkeys(CONSUMER, 13), {}
    ),
    "two cards for a bridge, and no bridge": NvmlMachine(
        on_the_bus(*TWO),
        {**H100, "NAME": "NVIDIA A100 80GB PCIe", "COUNT": "2", "LINKS": "12", "LINKS_UP": "0"},
        {"nvmlDeviceGetGpuFabricInfo": NOT_SUPPORTED},
        {},
    ),
    "an SXM GPU with a link down": NvmlMachine(on_the_bus(*ONE), {**H100, "LINKS_UP": "0"}, {}, {"GPU012": FAIL}),
    "a slice of a GPU, in a container": NvmlMachine(
        on_the_bus(*ONE, nodes=("nvidia3",)), {**H100, "MIG": "1"}, IN_A_SLICE, {"GPU001": UNKNOWN}
    ),
    "WSL2": NvmlMachine(wsl, {**RTX, "DRIVER": "572.16"}, BARE, {"GPU004": UNKNOWN}),
    "a Jetson": NvmlMachine(jetson, ORIN, BARE, {"GPU004": UNKNOWN}),
    "a GPU that is lost": NvmlMachine(
        on_the_bus(*ONE), H100, {"nvmlDeviceGetTemperature": LOST}, {**NO_ANSWER, "DRV007": FAIL}
    ),
    "a driver that cannot count": NvmlMachine(
        on_the_bus(*ONE), H100, {"nvmlDeviceGetCount_v2": UNKNOWN_ERROR}, {**NO_ANSWER, "DRV007": FAIL}
    ),
    "a library without a driver": NvmlMachine(
        on_the_bus(*ONE), H100, {"nvmlInitWithFlags": 9}, {**NO_ANSWER, "DRV007": FAIL}
    ),
    "a driver older than its GPU": NvmlMachine(
        on_the_bus(*ONE, driver="550.54.14"), {**H100, "COUNT": "0"}, {}, {"DRV018": FAIL}
    ),
}
