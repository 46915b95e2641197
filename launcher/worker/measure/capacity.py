"""What the work was and what the device can do: operations counted, a product of matrices timed, memory at its peak."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from launcher import __version__
from launcher.worker.measure.stopwatch import Clock
from launcher.worker.numerics import AUTOCAST_TYPES

SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the product's matrices."""
MULTIPLIED_SECONDS = 0.3


class Counter:
    """Counts the floating-point operations between `begin` and `end`, forward and backward, by torch's own table."""

    def __init__(self) -> None:
        self._mode: Any = FlopCounterMode(display=False)
        self._eager: Any = contextlib.nullcontext()

    def begin(self) -> None:
        """What is compiled hides its operations, so this step is made without the compiler."""
        self._eager = torch.compiler.set_stance("force_eager")
        self._eager.__enter__()
        self._mode.__enter__()

    def end(self) -> int:
        self._mode.__exit__(None, None, None)
        self._eager.__exit__(None, None, None)
        return int(self._mode.get_total_flops())


def product_flops(clock: Clock, device: torch.device, precision: str) -> float:
    """The most operations a second that a product of two square matrices reached."""
    side = SIDE[device.type]
    matrix = torch.randn(side, side, device=device, dtype=AUTOCAST_TYPES.get(precision, torch.float32))
    best, deadline = float("inf"), time.monotonic() + MULTIPLIED_SECONDS
    torch.mm(matrix, matrix)
    while best == float("inf") or time.monotonic() < deadline:
        began = clock.mark()
        torch.mm(matrix, matrix)
        best = min(best, *clock.gaps([began, clock.mark()]))
    return 2 * side**3 / best


def forget_peak(device: torch.device) -> None:
    """From here on the peak is counted anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """Bytes: of the process on the CPU, of torch's allocator on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def hardware(device: torch.device) -> dict[str, str]:
    """What the rank runs on."""
    found = {"processor": _processor(), "cores": str(len(os.sched_getaffinity(0)))}
    if device.type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
    return found


def versions() -> dict[str, str]:
    found = {"launcher": __version__, "python": platform.python_version(), "torch": torch.__version__}
    return found | ({"CUDA": torch.version.cuda} if torch.version.cuda else {})


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
