"""NVIDIA's driver as the kernel and the file system show it: no NVML, no command, so it works in any container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.gpus import Driver
from envcheck.versions import parse

if TYPE_CHECKING:
    from envcheck.machine import Machine

NVIDIA = "0x10de"
DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers: data-centre GPUs are the latter
BRIDGE_CLASS = "0x0680"  # an NVSwitch shows itself as a bridge
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
)
DRIVER_LIBRARY = re.compile(r"^lib(?:cuda|nvidia-ml)\.so\.(\d{3,}\.\d+(?:\.\d+)?)$")


def collect(machine: Machine) -> Driver:
    if not machine.path("/proc").is_dir():
        raise Absent("/proc is not mounted")
    kernel = machine.read_or_none("/proc/driver/nvidia/version") or ""
    classes = _pci_classes(machine)
    return Driver(
        kernel_module=_first(re.search(r"Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)", kernel)),
        open_module="Open Kernel Module" in kernel,
        user_library=_user_library(machine),
        device_nodes=tuple(name for name in machine.names("/dev") if name.startswith("nvidia")),
        pci_gpus=None if classes is None else sum(one.startswith(DISPLAY_CLASSES) for one in classes),
        nvswitches=sum(one.startswith(BRIDGE_CLASS) for one in classes or ()),
        fabric_manager=_fabric_manager(machine)
        if classes and any(c.startswith(BRIDGE_CLASS) for c in classes)
        else None,
        modules=_modules(machine.read_or_none("/proc/modules") or ""),
        platform=_platform(machine),
        compat_library=_compat_library(machine),
    )


def _pci_classes(machine: Machine) -> list[str] | None:
    """The PCI classes of NVIDIA's devices, or None where the bus is hidden."""
    folder = "/sys/bus/pci/devices"
    if not machine.path(folder).is_dir():
        return None
    ours = [name for name in machine.names(folder) if machine.read_or_none(f"{folder}/{name}/vendor") == NVIDIA]
    return [machine.read_or_none(f"{folder}/{name}/class") or "" for name in ours]


def _fabric_manager(machine: Machine) -> str | None:
    try:
        said = machine.run(["nv-fabricmanager", "--version"], 2).stdout
    except Absent:
        return None
    return _first(re.search(r"(\d+\.\d+(?:\.\d+)?)", said))


def _platform(machine: Machine) -> str:
    if machine.path("/dev/dxg").exists():
        return "wsl"
    return "tegra" if "nvidia,tegra" in (machine.read_or_none("/proc/device-tree/compatible") or "") else ""


def _user_library(machine: Machine) -> str | None:
    """Of several, which an image brings along beside the driver's own, the one that libcuda.so.1 leads to."""
    for folder in LIBRARY_FOLDERS:
        target = machine.path(f"{folder}/libcuda.so.1").resolve().name
        found = [match[1] for name in [target, *machine.names(folder)] if (match := DRIVER_LIBRARY.match(name))]
        if found:
            return found[0] if DRIVER_LIBRARY.match(target) else max(found, key=parse)
    return None


def _modules(proc_modules: str) -> tuple[str, ...]:
    names = (line.split(" ", 1)[0] for line in proc_modules.splitlines())
    return tuple(sorted(name for name in names if name.startswith("nvidia") or name == "nv_peer_mem"))


def _compat_library(machine: Machine) -> str | None:
    """A `compat` folder with a libcuda that LD_LIBRARY_PATH or the loader's configuration puts before the driver's."""
    folders = machine.environ.get("LD_LIBRARY_PATH", "").split(":")
    for name in machine.names("/etc/ld.so.conf.d"):
        folders += (machine.read_or_none(f"/etc/ld.so.conf.d/{name}") or "").split()
    for folder in folders:
        if "compat" in folder:
            for name in machine.names(folder):
                if name.startswith("libcuda.so"):
                    return f"{folder.rstrip('/')}/{name}"
    return None


def _first(match: re.Match[str] | None) -> str | None:
    return match[1] if match else None
