"""Reads images/versions.toml, the only place with pins, and picks the variant that fits a machine.

Standard library only: the installer asks it before anything is installed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import EnvironmentUnfit, RequestError, nearest

ROOT = Path(__file__).parent.parent.parent
"""The checkout; images/ stands in it, beside the package."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One environment: a torch and everything that comes with it."""

    name: str
    torch: str
    cuda: str | None = None
    """The CUDA runtime wheel's version."""
    cudnn: str | None = None
    nccl: str | None = None
    triton: str | None = None
    driver: str | None = None
    """The oldest NVIDIA driver that runs it; None: needs none."""
    driver_complete: str | None = None
    """The driver from which no feature is missing."""
    machines: tuple[str, ...] = ("x86_64", "aarch64")
    architectures: tuple[str, ...] = ()
    """Compute capabilities the wheel holds machine code for."""
    ptx: str | None = None
    """The compute capability from which later GPUs are served by compiling PTX."""
    budget: float
    """The most gigabytes that its image may take, unpacked."""
    constraints: tuple[str, ...] = ()
    devel: tuple[str, ...] = ()
    """What the `devel` target holds beside: the CUDA compiler."""
    torch_wheels: tuple[tuple[str, str], ...] = ()
    """(tag, sha256) of torch wheels that are recorded rather than asked for."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """What decides which variant fits: the processor, and the NVIDIA driver and GPUs if there are any."""

    machine: str
    driver: str | None = None
    capabilities: tuple[str, ...] = ()
    """Compute capability of each GPU; empty when it could not be asked."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The whole of versions.toml."""

    default: str
    automatic: tuple[str, ...]
    locks: dict[str, Any]
    base: dict[str, Any]
    usual: dict[str, Any]
    """The image most people would take instead, and how large it is said to be."""
    variants: dict[str, Variant]

    def variant(self, name: str) -> Variant:
        """The variant of that name; RequestError with the nearest name if there is none."""
        if name in self.variants:
            return self.variants[name]
        raise RequestError(
            f"there is no variant {name!r}{nearest(name, self.variants)}",
            hint=f"images/versions.toml has {', '.join(self.variants)}",
        )

    def choose(self, host: Host) -> tuple[Variant, str]:
        """The first automatic variant that fits the host, and why."""
        refusals: list[str] = []
        for name in self.automatic:
            variant = self.variants[name]
            unfit = misfit(variant, host)
            if unfit is None:
                return variant, _reason(variant, host, refusals)
            refusals.append(f"not {name}: {unfit}")
        raise EnvironmentUnfit(f"no variant fits this machine ({'; '.join(refusals)})", hint="name one with --variant")


def read(root: Path = ROOT) -> Versions:
    """Read images/versions.toml of a checkout."""
    path = root / "images" / "versions.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EnvironmentUnfit(
            f"{path} is missing: images are built from a checkout of the project",
            hint="clone the project and run ./install there",
        ) from None
    table = tomllib.loads(text)
    return Versions(
        default=table["default"],
        automatic=tuple(table["automatic"]),
        locks=table["locks"],
        base=table["base"],
        usual=table["usual"],
        variants={name: _variant(name, pins) for name, pins in table["variants"].items()},
    )


def driver() -> str | None:
    """The version of the NVIDIA driver that this kernel runs; None without one."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^NVRM version:.*\s{2}(\d+\.[\d.]*\d)\s", told, re.MULTILINE)
    return found[1] if found else None


def misfit(variant: Variant, host: Host) -> str | None:
    """Why a variant cannot run on a host, in a few words; None when it can."""
    if host.machine not in variant.machines:
        return f"it is made for {' and '.join(variant.machines)}, this machine is {host.machine}"
    if variant.driver is None:
        return None
    if host.driver is None:
        return "there is no NVIDIA driver"
    if _number(host.driver) < _number(variant.driver):
        return f"it needs driver {variant.driver} or later, this one is {host.driver}"
    unserved = [capability for capability in host.capabilities if not serves(variant, capability)]
    if unserved:
        return f"its torch has no code for compute capability {', '.join(unserved)}"
    return None


def serves(variant: Variant, capability: str) -> bool:
    """Whether the wheel's code runs on a GPU: same major and no later minor, or PTX of an earlier capability."""
    major, minor = _number(capability)
    by_machine_code = any(
        major == built[0] and minor >= built[1] for built in (_number(item) for item in variant.architectures)
    )
    return by_machine_code or (variant.ptx is not None and _number(variant.ptx) <= (major, minor))


def _reason(variant: Variant, host: Host, refusals: list[str]) -> str:
    if variant.driver is None:
        fits = "it needs no GPU"
    elif variant.driver_complete and _number(host.driver or "") < _number(variant.driver_complete):
        fits = f"driver {host.driver} runs it, with every feature from {variant.driver_complete} on"
    else:
        fits = f"driver {host.driver} runs it"
    return "; ".join([fits, *refusals])


def _variant(name: str, pins: dict[str, Any]) -> Variant:
    wheels = tuple(sorted(pins.pop("torch_wheels", {}).items()))
    lists = {key: tuple(value) for key, value in pins.items() if isinstance(value, list)}
    return Variant(name=name, torch_wheels=wheels, **{**pins, **lists})


def _number(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.split("."))
