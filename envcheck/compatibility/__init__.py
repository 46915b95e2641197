"""Which versions go together: dated tables with their source, and the questions the checks ask of them."""

from __future__ import annotations

import enum
import functools
import json
import pkgutil
import re
from typing import Any, NamedTuple

from envcheck.versions import at_least, minor, parse


@functools.cache
def table(name: str) -> Any:
    """A table of this folder; read through the importer, so that it works from inside an archive too."""
    return json.loads(pkgutil.get_data(__name__, f"{name}.json") or b"")


class DriverFit(enum.Enum):
    """NVIDIA's three answers to "does this driver run that CUDA?", and ours where the table has no row."""

    FULL = "full"
    MINOR = "minor-version compatible"
    UNFIT = "unfit"
    UNKNOWN = "unknown"


class DriverAnswer(NamedTuple):
    fit: DriverFit
    floor: str = ""
    """The oldest driver that runs this CUDA family at all."""
    own: str = ""
    """The driver the toolkit was made with: from here on nothing is missing."""


def driver_for_cuda(driver: str, cuda: str) -> DriverAnswer:
    """Whether `driver` (`535.104.05`) runs programs built with `cuda` (`12.8`)."""
    data = table("cuda_driver")
    family = data["families"].get(cuda.split(".")[0])
    if family is None:
        return DriverAnswer(DriverFit.UNKNOWN)
    floor = family["floor"]
    own = data["toolkits"].get(minor(cuda), floor)
    if at_least(driver, own):
        return DriverAnswer(DriverFit.FULL, floor, own)
    return DriverAnswer(DriverFit.MINOR if at_least(driver, floor) else DriverFit.UNFIT, floor, own)


def newest_cuda(driver: str) -> str | None:
    """The newest CUDA whose own driver is not newer than this one: `535.104.05` -> `12.2`."""
    rows = table("cuda_driver")["toolkits"]
    return max((cuda for cuda, own in rows.items() if at_least(driver, own)), key=parse, default=None)


def oldest_wheel(driver: str) -> str | None:
    """The CUDA of the oldest official wheels that this driver runs, as their index is called: `cu126`."""
    cudas = {row["cuda"] for row in table("wheel_archs")["archs"]["x86_64"]}
    runs = [cuda for cuda in cudas if driver_for_cuda(driver, cuda).fit is not DriverFit.UNFIT]
    return "cu" + _digits(min(runs, key=parse)) if runs else None


class GpuModel(NamedTuple):
    """What a product name tells: `12.0` and `geforce` of "NVIDIA GeForce RTX 5090"."""

    capability: str
    brand: str


def gpu_model(product: str) -> GpuModel | None:
    """Look a product name up; None for one the table does not know."""
    for name, capability, brand in table("gpus")["names"]:
        pattern = re.escape(name) + (r"\d*" if re.search(r"TX \d\d?$", name) else r"(?!\d)")
        if re.search(rf"(?<![A-Za-z0-9]){pattern}", product, re.IGNORECASE):
            return GpuModel(capability, brand)
    return None


def brand(product: str) -> str:
    """`datacenter`, `workstation`, `geforce` or `jetson`; empty for a product the table does not know."""
    model = gpu_model(product)
    return model.brand if model else ""


class GpuDrivers(NamedTuple):
    """The drivers that drive one generation of GPUs."""

    name: str
    """`Hopper`."""
    since: str
    """The first driver that drives any GPU of the generation."""
    last: str | None
    """The last branch that does, where NVIDIA has ended it: `580`."""


def drivers_of(capability: str) -> GpuDrivers | None:
    """The drivers of the GPUs of this capability (`9.0`); None where the table has no row."""
    row = table("gpu_drivers")["capabilities"].get(capability)
    return GpuDrivers(row["name"], row["since"], row.get("last")) if row else None


def wheel_archs(torch: str, cuda: str, architecture: str = "x86_64") -> list[str] | None:
    """The arch list of an official wheel, as torch spells it (`sm_90`, `compute_120`); None where no row fits."""
    for row in table("wheel_archs")["archs"].get(architecture, ()):
        newest = row.get("until", "999")
        if row["cuda"] == minor(cuda) and at_least(torch, row["since"]) and parse(minor(torch)) <= parse(newest):
            return [f"sm_{_digits(one)}" for one in row["sass"]] + [
                f"compute_{_digits(one)}" for one in row.get("ptx", ())
            ]
    return None


def runs_on(archs: list[str] | tuple[str, ...], capability: str) -> bool:
    """Whether kernels for `archs` run on `capability` (`8.9`).

    Machine code runs on the same major and an equal or later minor; PTX on anything later. The suffixes a and f
    (`sm_90a`) tie code to one chip, or its family: they count only where the capability is the same.
    """
    wanted = parse(capability)
    for arch in archs:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if not found:
            continue
        has = (int(found[2]), int(found[3]))
        if has == wanted[:2]:
            return True
        if not found[4] and (has <= wanted[:2] if found[1] == "compute" else has[0] == wanted[0] and has <= wanted[:2]):
            return True
    return False


def _digits(capability: str) -> str:
    return capability.replace(".", "")
