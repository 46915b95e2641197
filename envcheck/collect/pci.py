"""The PCI bus: the width and speed of each GPU's link, ACS on the bridges, and the IOMMU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.collect.driver import DISPLAY_CLASSES, NVIDIA
from envcheck.machine import Absent
from envcheck.sections.gpus import Pci, PciGpu

if TYPE_CHECKING:
    from envcheck.machine import Machine

DEVICES = "/sys/bus/pci/devices"
BRIDGE = "0x0604"
ACS_CAPABILITY = 0x000D
REQUEST_REDIRECT = 0x04
HEADER_BYTES = 256  # the extended capabilities begin behind them, and only root may read that far


def collect(machine: Machine) -> Pci:
    if not machine.path(DEVICES).is_dir():
        raise Absent(f"{DEVICES} is not there")
    kinds = {name: machine.read_or_none(f"{DEVICES}/{name}/class") or "" for name in machine.names(DEVICES)}
    boot = machine.read_or_none("/proc/cmdline") or ""
    return Pci(
        gpus=tuple(_gpu(machine, name) for name, kind in kinds.items() if _is_gpu(machine, name, kind)),
        acs_bridges=_acs_bridges(machine, [name for name, kind in kinds.items() if kind.startswith(BRIDGE)]),
        iommu=bool(machine.names("/sys/class/iommu")) and "iommu=pt" not in boot,
        virtual=bool(re.search(r"^flags.*\bhypervisor\b", machine.read_or_none("/proc/cpuinfo") or "", re.MULTILINE)),
        infiniband=bool(machine.names("/sys/class/infiniband")),
    )


def _is_gpu(machine: Machine, name: str, kind: str) -> bool:
    return kind.startswith(DISPLAY_CLASSES) and machine.read_or_none(f"{DEVICES}/{name}/vendor") == NVIDIA


def _gpu(machine: Machine, name: str) -> PciGpu:
    def number(file: str) -> float | None:
        found = re.match(r"-?\d+(\.\d+)?", machine.read_or_none(f"{DEVICES}/{name}/{file}") or "")
        return float(found[0]) if found else None

    def whole(file: str) -> int | None:
        value = number(file)
        return None if value is None else int(value)

    return PciGpu(
        bus=name,
        width=whole("current_link_width"),
        max_width=whole("max_link_width"),
        speed=number("current_link_speed"),
        max_speed=number("max_link_speed"),
        numa_node=whole("numa_node"),
    )


def _acs_bridges(machine: Machine, bridges: list[str]) -> tuple[str, ...] | None:
    """The bridges whose ACS control register redirects peer requests upwards."""
    redirecting = []
    for name in bridges:
        try:
            registers = machine.path(f"{DEVICES}/{name}/config").read_bytes()
        except OSError:
            return None
        if len(registers) <= HEADER_BYTES:
            return None
        if _acs_control(registers) & REQUEST_REDIRECT:
            redirecting.append(name)
    return tuple(redirecting)


def _acs_control(registers: bytes) -> int:
    """Walk the extended capabilities: 16 bits id, 4 bits version, 12 bits offset of the next."""
    offset, seen = HEADER_BYTES, set()
    while offset and offset not in seen and offset + 8 <= len(registers):
        seen.add(offset)
        header = int.from_bytes(registers[offset : offset + 4], "little")
        if header & 0xFFFF == ACS_CAPABILITY:
            return int.from_bytes(registers[offset + 6 : offset + 8], "little")
        offset = header >> 20
    return 0
