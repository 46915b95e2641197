"""The programs that envcheck runs as children: torch's probe for real, NVML's with a stub of pynvml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envcheck.check import judge
from envcheck.checks import select
from envcheck.collect import collect
from envcheck.facts import Facts, decode
from envcheck.machine import Completed, Machine
from envcheck.sections.gpus import Gpus
from envcheck.sections.need import Need
from envcheck.sections.torch import Torch
from tests.envcheck.bench import REPOSITORY

STUB_PYNVML = """
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class Record:
    def __init__(self, **fields): self.__dict__.update(fields)
NVML_TEMPERATURE_GPU = NVML_MEMORY_ERROR_TYPE_UNCORRECTED = NVML_VOLATILE_ECC = 0
def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 2
def nvmlSystemGetDriverVersion(): return b"580.95.05"
def nvmlSystemGetCudaDriverVersion(): return 13000
def nvmlDeviceGetHandleByIndex(index):
    if index == 1: raise NVMLError("GPU is lost")
    return index
def nvmlDeviceGetName(gpu): return b"NVIDIA H100 80GB HBM3"
def nvmlDeviceGetUUID(gpu): return "GPU-0"
def nvmlDeviceGetPciInfo(gpu): return Record(busId=b"00000000:1B:00.0")
def nvmlDeviceGetCudaComputeCapability(gpu): return (9, 0)
def nvmlDeviceGetMemoryInfo(gpu): return Record(total=80 << 30, used=1 << 30)
def nvmlDeviceGetTemperature(gpu, sensor): return 34
def nvmlDeviceGetMigMode(gpu): return (0, 0)
def nvmlDeviceGetRemappedRows(gpu): return (1, 0, 1, 0)
def nvmlDeviceGetCurrentClocksThrottleReasons(gpu): return 0x48
def nvmlDeviceGetNvLinkState(gpu, link):
    if link > 3: raise NVMLError("Not Supported")
    return int(link < 3)
def nvmlDeviceGetPersistenceMode(gpu): return 1
def nvmlDeviceGetComputeMode(gpu): return 3
def nvmlDeviceGetTotalEccErrors(gpu, kind, counter): return 2
def nvmlDeviceGetComputeRunningProcesses(gpu): return [Record(pid=4242)]
def nvmlSystemGetProcessName(pid): return b"python"
def __getattr__(name):
    if name.startswith("nvml"):
        def absent(*arguments): raise NVMLError("Not Supported")
        return absent
    raise AttributeError(name)
"""


def nvml(folder: Path, init: str) -> Gpus:
    (folder / "pynvml.py").write_text(STUB_PYNVML.replace("{init}", init))
    done = subprocess.run(
        [sys.executable, "-m", "envcheck.collect.nvml"],
        env={**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: Gpus = decode(Gpus, json.loads(done.stdout), "nvml")
    return found


def test_nvml_tells_of_every_gpu_that_answers(tmp_path: Path) -> None:
    seen = nvml(tmp_path, "pass")
    gpu = seen.devices[0]
    assert (seen.driver, seen.cuda, seen.error) == ("580.95.05", "13.0", "GPU 1: GPU is lost")
    assert (gpu.bus, gpu.capability, gpu.memory_mib, gpu.ecc_uncorrected) == ("0000:1b:00.0", "9.0", 81920, 2)
    assert (gpu.remap_pending, gpu.remap_failed, gpu.compute_mode) == (True, False, "Exclusive_Process")
    assert gpu.throttle == ("hw_slowdown", "hw_thermal_slowdown")
    assert (gpu.nvlinks_up, gpu.nvlinks, gpu.processes) == (3, 4, ("4242 python",))


def test_nvml_that_cannot_start_is_a_fact(tmp_path: Path) -> None:
    assert (
        nvml(tmp_path, 'raise NVMLError("Driver/library version mismatch")').error == "Driver/library version mismatch"
    )


@pytest.fixture(scope="module")
def torch_facts() -> Facts:
    """One real import of torch for all tests of this module."""
    return collect(Machine(Need()), ("static", "torch"), only=["torch", "packages", "gpus", "libraries"])


def test_the_probe_tells_what_torch_is_and_that_it_works(torch_facts: Facts) -> None:
    seen: Torch = torch_facts.get("torch")
    packages = torch_facts.get("packages")
    assert seen.failure is None
    assert (seen.version, seen.cuda) == (packages.torch, packages.torch_cuda)
    assert seen.devices[0].name == "cpu"
    assert seen.devices[0].matmul_error is not None
    assert seen.numpy is not None


def test_every_check_of_the_torch_tier_has_an_answer_here(torch_facts: Facts) -> None:
    checks = [one for one in select(["libraries"]) if set(one.requires) <= set(torch_facts.sections)]
    torn = [result for result in judge(torch_facts, checks) if "the check itself failed" in result.saw]
    assert torn == []


def probe_says(answer: Completed) -> Facts:
    return collect(Machine(Need(), run=lambda argv, seconds: answer), ("torch",), only=["torch"])


def test_a_process_that_dies_importing_torch_is_a_failure_of_torch() -> None:
    seen = probe_says(Completed(-11, "", "Fatal Python error: Segmentation fault\n"))
    assert "ended with -11: Fatal Python error" in seen.get("torch").failure


def test_an_answer_that_is_no_json_leaves_torch_absent() -> None:
    seen = probe_says(Completed(0, "hello\n", ""))
    assert "cannot be read" in seen.why_absent("torch")


def test_a_python_without_torch_says_so() -> None:
    program = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; "
    program += "import runpy; runpy.run_module('envcheck.probe', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert json.loads(done.stdout)["failure"] == "torch is not installed"
