"""What a rank uses of its node: memory, and of its GPU memory and time. Told beside its progress."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def of(device: torch.device) -> dict[str, float]:
    """`memory` in bytes; for a rank on a GPU also `gpu_memory` in bytes and `gpu_busy`, a share of 1."""
    used: dict[str, float] = {}
    with contextlib.suppress(OSError):
        used["memory"] = int(_STATM.read_text().split()[1]) * _PAGE
    if device.type == "cuda":
        used["gpu_memory"] = torch.cuda.memory_reserved(device)
        with contextlib.suppress(RuntimeError, ImportError):  # NVML is not there, or may not be asked
            used["gpu_busy"] = torch.cuda.utilization(device) / 100
    return used
