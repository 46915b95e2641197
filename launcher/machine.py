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
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
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
        count = min(count, len(visible.split(",")))
    return count, bf16 and count > 0
