"""The variant of images/versions.toml that `--expect` and `can-run` name, and whether a machine can run it."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envcheck.check import Status
from envcheck.compatibility import driver_for_cuda, drivers_of, gpu_model, runs_on, wheel_archs
from envcheck.sections.libraries import Expectation
from envcheck.versions import at_least, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPARED = ("torch", "cuda", "cudnn", "nccl", "triton", "python")


class NoSuchVariant(ValueError):
    """The variant cannot be read; the message says why and what there is."""


class Finding(NamedTuple):
    """One reason why a variant runs on a machine, runs with limits, or does not."""

    status: Status
    saw: str


def read(words: str) -> Expectation:
    """Read `images/cu130`: the table `[variants.cu130]` of images/versions.toml. Raises NoSuchVariant."""
    path = Path(words).parent / "versions.toml"
    name = Path(words).name
    document = _toml(path)
    variants = document.get("variants", {})
    if name not in variants:
        near = difflib.get_close_matches(name, variants, 1)
        raise NoSuchVariant(
            f"{path} has no variant {name!r}; it has {', '.join(variants) or 'none'}"
            + (f"; did you mean {Path(words).parent / near[0]}?" if near else "")
        )
    table = variants[name]
    return Expectation(
        variant=words,
        versions={key: str(table[key]) for key in COMPARED if key in table},
        driver=table.get("driver"),
        driver_complete=table.get("driver_complete"),
        architectures=tuple(table.get("architectures", ())),
        ptx=table.get("ptx"),
        machines=tuple(table.get("machines", ())),
    )


def can_run(wanted: Expectation, driver: str | None, gpu: str | None, machine: str | None) -> list[Finding]:
    """Judge offline whether the variant runs under this driver, on this GPU (a name or `12.0`), on this machine.

    What is not told is UNKNOWN. Raises NoSuchVariant for a driver that is no version.
    """
    if driver is not None and not parse(driver):
        raise NoSuchVariant(f"{driver!r} is no driver version; `nvidia-smi` prints one like 580.95.05")
    if "cuda" not in wanted.versions:
        no_cuda = Finding(Status.PASS, f"{wanted.variant} has no CUDA: it needs no driver and uses no GPU")
        return [*_machine(wanted, machine), no_cuda]
    found = [*_machine(wanted, machine), *_driver(wanted, driver)]
    if gpu is None:
        return [*found, Finding(Status.UNKNOWN, "no GPU was told: --gpu NAME, or --gpu 9.0, its compute capability")]
    model = gpu_model(gpu)
    capability = gpu if parse(gpu)[1:] else model.capability if model else None
    if capability is None:
        return [
            *found,
            Finding(Status.UNKNOWN, f"the tables do not know {gpu!r}: give its compute capability, 12.0"),
        ]
    if model and model.brand == "jetson":
        return [*found, Finding(Status.UNKNOWN, f"{gpu} follows the releases of JetPack, which the tables do not hold")]
    named = f"{gpu} (sm_{capability.replace('.', '')})"
    return [*found, *_gpu_driver(named, capability, driver), *_gpu(wanted, named, capability, machine or "x86_64")]


def _toml(path: Path) -> dict[str, Any]:
    try:
        toml = importlib.import_module("tomllib")
    except ImportError:
        raise NoSuchVariant(f"reading {path} takes Python 3.11 or later") from None
    try:
        document: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NoSuchVariant(
            f"{path}: {error.strerror}; name a variant as images/cu130, from the project's root"
        ) from None
    except toml.TOMLDecodeError as error:
        raise NoSuchVariant(f"{path}: {error}") from None
    return document


def _machine(wanted: Expectation, machine: str | None) -> Iterator[Finding]:
    if machine and wanted.machines and machine not in wanted.machines:
        yield Finding(Status.FAIL, f"{wanted.variant} is built for {', '.join(wanted.machines)}, not for {machine}")


def _driver(wanted: Expectation, driver: str | None) -> Iterator[Finding]:
    cuda = wanted.versions["cuda"]
    answer = driver_for_cuda(driver or "", cuda)
    floor, complete = wanted.driver or answer.floor, wanted.driver_complete or answer.own
    if not floor:
        yield Finding(Status.UNKNOWN, f"the tables have no row for CUDA {cuda}")
    elif driver is None:
        yield Finding(Status.UNKNOWN, f"no driver was told (--driver 580.95.05); CUDA {cuda} needs {floor} or later")
    elif not at_least(driver, floor):
        yield Finding(Status.FAIL, f"driver {driver} is older than {floor}, which CUDA {cuda} needs")
    elif not at_least(driver, complete):
        yield Finding(
            Status.WARN, f"driver {driver} runs CUDA {cuda} with limits (no newer PTX); complete from {complete}"
        )
    else:
        yield Finding(Status.PASS, f"driver {driver} has everything of CUDA {cuda} (from {complete} on)")


def _gpu_driver(named: str, capability: str, driver: str | None) -> Iterator[Finding]:
    """Whether the driver drives this GPU at all, whatever CUDA it serves."""
    drivers = drivers_of(capability)
    if drivers is None:
        yield Finding(Status.UNKNOWN, f"the tables do not tell which drivers drive {named}")
    elif driver is None:
        return
    elif not at_least(driver, drivers.since):
        yield Finding(Status.FAIL, f"driver {driver} does not drive {named}: {drivers.name} takes {drivers.since}")
    elif drivers.last and parse(driver)[0] > parse(drivers.last)[0]:
        saw = f"driver {driver} does not drive {named} any more: {drivers.last} is the last branch with {drivers.name}"
        yield Finding(Status.FAIL, saw)
    else:
        yield Finding(Status.PASS, f"driver {driver} drives {named}")


def _gpu(wanted: Expectation, named: str, capability: str, machine: str) -> Iterator[Finding]:
    archs = [f"sm_{one.replace('.', '')}" for one in wanted.architectures]
    archs += [f"compute_{wanted.ptx.replace('.', '')}"] if wanted.ptx else []
    archs = archs or wheel_archs(wanted.versions.get("torch", ""), wanted.versions["cuda"], machine) or []
    if not archs:
        yield Finding(Status.UNKNOWN, f"neither {wanted.variant} nor the tables tell its GPU architectures")
    elif runs_on(archs, capability):
        yield Finding(Status.PASS, f"{named} is served by {' '.join(archs)}")
    else:
        yield Finding(Status.FAIL, f"{named} is not served: {wanted.variant} has {' '.join(archs)}")
