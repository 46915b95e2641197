"""The hash locks: what a lock holds, and whether it agrees with the pins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import EnvironmentUnfit
from launcher.images.versions import Variant, Versions

HEADER = "# Made by `launcher images lock` from images/versions.toml and pyproject.toml. Do not edit.\n"

# Which distributions carry a pin; their names changed between CUDA 12 and 13.
CARRIERS = {
    "torch": ("torch",),
    "cuda": ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"),
    "cudnn": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
    "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12"),
    "triton": ("triton",),
}


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One distribution of a lock."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def path(root: Path, name: str) -> Path:
    """Where the lock of a variant stands, and `test`'s."""
    return root / "images" / "locks" / f"{name}.txt"


def devel(variant: Variant) -> str:
    """The name of the lock with what a variant's `devel` target holds beside."""
    return f"{variant.name}-devel"


def tools(root: Path, versions: Versions, variant: Variant) -> str:
    """A lock of what the `devel` target holds beside: the pip that installs every image, and the CUDA compiler."""
    pip = versions.base["pip"]
    compiler = read(root, devel(variant)) if variant.devel else ""
    return f"pip=={pip['version']} --hash=sha256:{pip['wheel']}\n{compiler}"


def parse(text: str) -> list[Pin]:
    """The distributions of a lock, in order; ValueError for a line that is neither a pin nor a hash."""
    return [_pin(entry) for entry in _entries(text)]


def render(pins: list[Pin]) -> str:
    """The text of a lock: one distribution after another, its hashes below it."""
    lines = [HEADER]
    for pin in pins:
        marker = f" ; {pin.marker}" if pin.marker else ""
        hashes = [f"    --hash=sha256:{digest}" for digest in pin.hashes]
        lines.append(" \\\n".join([f"{pin.name}=={pin.version}{marker}", *hashes]) + "\n")
    return "".join(lines)


def faults(text: str, variant: Variant, versions: Versions) -> list[str]:
    """What is wrong with a variant's lock, in sentences; empty when it says what versions.toml says."""
    try:
        pins = parse(text)
    except ValueError as error:
        return [str(error)]
    found = [f"{pin.name} {pin.version} has no hash" for pin in pins if not pin.hashes]
    locked = {pin.name: pin for pin in pins}
    for part, carriers in CARRIERS.items():
        held = next((locked[name].version for name in carriers if name in locked), None)
        if held != getattr(variant, part):
            found.append(
                f"{part} is {held or 'absent'} in the lock, {getattr(variant, part) or 'absent'} in the pin file"
            )
    refused = set(versions.locks["refused"])
    found += [f"{pin.name} {pin.version} is a compromised release" for pin in pins if _equals(pin) in refused]
    if variant.torch_wheels and set(locked["torch"].hashes) != {digest for _, digest in variant.torch_wheels}:
        found.append("the hashes of torch are not those recorded in the pin file")
    return found


def applies(pin: Pin, machine: str) -> bool:
    """Whether a pin is for Linux with that processor, which is all that the locks' markers tell apart."""
    machines = re.findall(r"platform_machine == '(\w+)'", pin.marker)
    systems = re.findall(r"sys_platform == '(\w+)'", pin.marker)
    return (not machines or machine in machines) and (not systems or "linux" in systems)


def read(root: Path, name: str) -> str:
    """The text of a lock."""
    try:
        return path(root, name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EnvironmentUnfit(f"{path(root, name)} is missing", hint="make it: launcher images lock") from None


def digest(text: str) -> str:
    """What an image's label calls a lock."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _entries(text: str) -> Iterator[str]:
    joined = text.replace("\\\n", " ")
    return (line for line in joined.splitlines() if line.strip() and not line.startswith("#"))


def _pin(entry: str) -> Pin:
    whole = re.fullmatch(
        r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)\s*(;\s*(?P<marker>.*?))?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})*)\s*",
        entry,
    )
    if whole is None:
        raise ValueError(f"not a pin with hashes: {entry.strip()[:120]}")
    digests = tuple(re.findall(r"sha256:([0-9a-f]{64})", whole["hashes"]))
    return Pin(name=whole["name"], version=whole["version"], marker=(whole["marker"] or "").strip(), hashes=digests)


def _equals(pin: Pin) -> str:
    return f"{pin.name}=={pin.version}"
