"""NVIDIA's driver as the kernel shows it, and the GPUs as NVML or nvidia-smi tells of them."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Driver:
    """The kernel module, the user-space library and the device nodes; all empty on a machine without a GPU."""

    kernel_module: Optional[str] = None
    """Version of the loaded module, `580.95.05`."""
    open_module: bool = False
    user_library: Optional[str] = None
    """Version in the file name of the newest libcuda or libnvidia-ml that the loader would take."""
    device_nodes: tuple[str, ...] = ()
    """Names under /dev that begin with `nvidia`."""
    pci_gpus: Optional[int] = None
    """NVIDIA display controllers on the PCI bus, usable from here or not; None where it is hidden."""
    nvswitches: int = 0
    modules: tuple[str, ...] = ()
    """Loaded kernel modules whose name begins with `nvidia`, and `nv_peer_mem`."""
    compat_library: Optional[str] = None
    """A forward-compatibility libcuda that comes before the driver's own."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. None is what the source does not tell."""

    index: int
    name: str
    uuid: str = ""
    bus: str = ""
    """PCI address as /sys spells it: `0000:1b:00.0`."""
    capability: Optional[str] = None
    """`9.0`."""
    memory_mib: Optional[int] = None
    memory_used_mib: Optional[int] = None
    temperature: Optional[int] = None
    persistence: Optional[bool] = None
    compute_mode: Optional[str] = None
    """`Default`, `Exclusive_Process`, `Prohibited`."""
    mig: Optional[bool] = None
    mig_instances: tuple[str, ...] = ()
    ecc_uncorrected: Optional[int] = None
    """Uncorrectable errors since the driver was loaded."""
    remap_pending: Optional[bool] = None
    remap_failed: Optional[bool] = None
    throttle: tuple[str, ...] = ()
    """Active reasons: `hw_slowdown`, `hw_thermal_slowdown`, `hw_power_brake_slowdown`, `sw_thermal_slowdown`."""
    nvlinks_up: Optional[int] = None
    nvlinks: Optional[int] = None
    """Links the GPU has; None where it has no NVLink or the source is silent."""
    processes: tuple[str, ...] = ()
    """`pid name` of what computes on it now."""
    fabric: Optional[str] = None
    """State of the NVSwitch fabric as this GPU sees it: `completed`, `in_progress`, `not_started`, `not_supported`."""


@dataclass(frozen=True)
class Gpus:
    """What NVML or nvidia-smi answered."""

    source: str
    """`nvml`, `nvidia-smi`, or `pci` where the bus shows that there is no NVIDIA GPU."""
    driver: Optional[str] = None
    cuda: Optional[str] = None
    """The newest CUDA this driver speaks: an API level, not an installed toolkit."""
    devices: tuple[Gpu, ...] = ()
    error: Optional[str] = None
    """What the driver said instead of an answer."""
