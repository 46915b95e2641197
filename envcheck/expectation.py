"""The variant of images/versions.toml that `--expect` and `can-run` name, and whether a machine can run it."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from envcheck.check import Status
from envcheck.compatibility import DriverFit, driver_for_cuda, gpu_model, runs_on, wheel_archs
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
    """Judge offline whether the variant runs under this driver, on this GPU (a name or `12.0`), on this machine."""
    return [*_machine(wanted, machine), *_driver(wanted, driver), *_gpu(wanted, gpu, machine or "x86_64")]


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
    cuda = wanted.versions.get("cuda")
    if cuda is None:
        yield Finding(Status.PASS, f"{wanted.variant} has no CUDA: it needs no driver and uses no GPU")
        return
    if driver is None:
        return
    if not parse(driver):
        raise NoSuchVariant(f"{driver!r} is no driver version; `nvidia-smi` prints one like 580.95.05")
    answer = driver_for_cuda(driver, cuda)
    floor, complete = wanted.driver or answer.floor, wanted.driver_complete or answer.own
    if answer.fit is DriverFit.UNKNOWN and not floor:
        yield Finding(Status.UNKNOWN, f"the tables have no row for CUDA {cuda}")
    elif not at_least(driver, floor):
        yield Finding(Status.FAIL, f"driver {driver} is older than {floor}, which CUDA {cuda} needs")
    elif not at_least(driver, complete):
        yield Finding(
            Status.WARN, f"driver {driver} runs CUDA {cuda} with limits (no newer PTX); complete from {complete}"
        )
    else:
        yield Finding(Status.PASS, f"driver {driver} has everything of CUDA {cuda} (from {complete} on)")


def _gpu(wanted: Expectation, gpu: str | None, machine: str) -> Iterator[Finding]:
    cuda = wanted.versions.get("cuda")
    if cuda is None or gpu is None:
        return
    capability = gpu if parse(gpu)[1:] else (gpu_model(gpu) or ("",))[0]
    if not capability:
        yield Finding(Status.UNKNOWN, f"the tables do not know {gpu!r}; give its compute capability instead, as 12.0")
        return
    archs = [f"sm_{one.replace('.', '')}" for one in wanted.architectures]
    archs += [f"compute_{wanted.ptx.replace('.', '')}"] if wanted.ptx else []
    archs = archs or wheel_archs(wanted.versions.get("torch", ""), cuda, machine) or []
    if not archs:
        yield Finding(Status.UNKNOWN, f"neither {wanted.variant} nor the tables tell its GPU architectures")
    elif runs_on(archs, capability):
        yield Finding(Status.PASS, f"{gpu} (sm_{capability.replace('.', '')}) is served by {' '.join(archs)}")
    else:
        yield Finding(Status.FAIL, f"{gpu} is sm_{capability.replace('.', '')}; {wanted.variant} has {' '.join(archs)}")
