"""The real pynvml over a stub of NVML's library: what a card does not support is no fault, and what is lost is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envcheck.check import Result, Status, judge
from envcheck.checks import select
from envcheck.facts import decode
from envcheck.sections.gpus import Gpus
from tests.envcheck.bench import REPOSITORY, Bench
from tests.envcheck.nvml_machines import MACHINES, NvmlMachine

CHECKS = [one for one in select(["driver", "gpu"]) if "packages" not in one.requires]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 that answers as it is told."""
    pytest.importorskip("pynvml")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("stub_nvml.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True, timeout=60)
    return folder


def told(library: Path, machine: NvmlMachine) -> str:
    """What envcheck's child process says of such a machine."""
    stub = {f"NVML_STUB_{name}": value for name, value in machine.stub.items()}
    errors = ",".join(f"{function}={error}" for function, error in machine.errors.items())
    done = subprocess.run(
        [sys.executable, "-m", "envcheck.collect.nvml"],
        env={**os.environ, **stub, "NVML_STUB_ERRORS": errors, "LD_LIBRARY_PATH": str(library),
             "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


def results(bench: Bench, library: Path, machine: NvmlMachine) -> list[Result]:
    bench.answer(sys.executable, told(library, machine))
    bench.answer("dmesg", "")
    machine.build(bench)
    return judge(bench.facts({name for one in CHECKS for name in one.requires + one.wishes}), CHECKS)


@pytest.mark.parametrize("name", MACHINES)
def test_the_checks_say_what_is_right_of(name: str, library: Path, tmp_path: Path) -> None:
    found = results(Bench(tmp_path), library, MACHINES[name])
    assert {one.id: one.status for one in found if one.status is not Status.PASS} == MACHINES[name].verdict, found


def test_everything_that_nvml_tells_of_a_gpu_arrives(library: Path) -> None:
    seen = decode(Gpus, json.loads(told(library, MACHINES["a healthy H100"])), "nvml")
    (gpu,) = seen.devices
    assert (seen.driver, seen.cuda, gpu.name, gpu.capability) == ("580.95.05", "13.0", "NVIDIA H100 80GB HBM3", "9.0")
    assert (gpu.bus, gpu.nvlinks_up, gpu.fabric, gpu.throttle) == ("0000:10:00.0", 18, "completed", ())
    assert None not in vars(gpu).values()


def test_the_instances_of_a_gpu_that_is_cut_are_named(library: Path) -> None:
    seen = decode(Gpus, json.loads(told(library, MACHINES["a slice of a GPU, in a container"])), "nvml")
    assert [(gpu.mig, gpu.mig_instances) for gpu in seen.devices] == [(True, ("MIG-100",))]
