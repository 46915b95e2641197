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
    fabric_manager: Optional[str] = None
    """Version of the installed fabric manager."""
    platform: str = ""
    """`wsl` or `tegra` (a Jetson), where the GPU is not on the PCI bus and much of the usual is missing."""
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
    throttle: Optional[tuple[str, ...]] = None
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


@dataclass(frozen=True)
class PciGpu:
    """The link of one GPU as /sys shows it."""

    bus: str
    width: Optional[int] = None
    max_width: Optional[int] = None
    speed: Optional[float] = None
    """GT/s now; an idle GPU may slow down by itself."""
    max_speed: Optional[float] = None
    numa_node: Optional[int] = None


@dataclass(frozen=True)
class Pci:
    """The bus between the GPUs."""

    gpus: tuple[PciGpu, ...] = ()
    acs_bridges: Optional[tuple[str, ...]] = None
    """Bridges that redirect peer-to-peer traffic through the CPU; None where their registers cannot be read."""
    iommu: bool = False
    """An IOMMU translates the devices' addresses (and is not merely passing them through)."""
    virtual: bool = False
    """This is a guest of a hypervisor."""
    infiniband: bool = False


@dataclass(frozen=True)
class KernelLog:
    """The lines of the kernel's log that concern GPUs; nothing else of it is kept."""

    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """Docker's and CDI's configuration on a host that starts GPU containers."""

    docker: bool = False
    nvidia_runtime: Optional[bool] = None
    """None where docker has no configuration to read."""
    cdi_specs: tuple[str, ...] = ()
    cdi_missing: tuple[str, ...] = ()
    """Device nodes a CDI specification names that do not exist."""
