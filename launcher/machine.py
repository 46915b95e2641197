"""What this machine offers a plan: cores this process may use, and GPUs. Imports no torch."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from launcher.plan import Machine


def inspect() -> Machine:
    gpus, bf16 = _gpus()
    return Machine(cores=_cores(), gpus=gpus, bf16=bf16)


def visible_gpus() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process, as it names them; None where it says nothing."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return None
    return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]


def gpu_names() -> list[str]:
    """The GPUs that this process may use, by the names that no order of enumeration changes."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        every = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    except pynvml.NVMLError:
        every = []
    visible = visible_gpus()
    return every if visible is None else _by_uuid(visible, every)


def _by_uuid(visible: list[str], every: list[str]) -> list[str]:
    """CUDA takes an index, or the beginning of a UUID."""
    named = dict(enumerate(every))
    found = []
    for name in visible:
        matches = [uuid for uuid in every if uuid.startswith(name)]
        found.append(named.get(int(name), name) if name.isdecimal() else matches[0] if len(matches) == 1 else name)
    return found


def _cores() -> int:
    """Cores in this process's affinity mask, fewer where the cgroup (v2) grants less time than that."""
    cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores


def _gpus() -> tuple[int, bool]:
    """How many GPUs are visible, by NVML, and whether all compute in bf16; (0, False) without driver or NVML."""
    visible = visible_gpus()
    if visible == []:
        return 0, False
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/nvidiactl").exists():
        return 0, False
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        bf16 = all(pynvml.nvmlDeviceGetCudaComputeCapability(handle) >= (8, 0) for handle in handles)
    except pynvml.NVMLError:
        return 0, False
    if visible is not None:
        count = min(count, len(visible))
    return count, bf16 and count > 0
