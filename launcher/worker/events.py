"""What a rank says while it runs: one JSON line an event, up a pipe that the node program reads.

Nothing here may hold up the training: the pipe does not block, and a line that does not fit is dropped. Lines are
shorter than PIPE_BUF (4096 bytes), so those of several ranks on one pipe never mix. What must not be lost is in files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 4095
SHORTEST_INTERVAL = 0.5
"""Seconds between two progress events."""


class Events:
    """Writes to the pipe named by LAUNCHER_EVENTS_FD; without one it does nothing."""

    def __init__(
        self, rank: int, environment: Mapping[str, str] = os.environ, *, use: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        """`use` says what the rank uses of its node, for a progress event."""
        self.rank = rank
        self._use = use
        self.pipe = int(environment["LAUNCHER_EVENTS_FD"]) if "LAUNCHER_EVENTS_FD" in environment else None
        self.next_progress = 0.0
        self.last_time = time.monotonic()
        self.last_step: int | None = None
        if self.pipe is not None:
            os.set_blocking(self.pipe, False)

    def progress_is_due(self) -> bool:
        return time.monotonic() >= self.next_progress

    def progress(self, *, step: int, epoch: int, loss: float, total_steps: int) -> None:
        now = time.monotonic()
        speed = 0.0 if self.last_step is None else (step - self.last_step) / max(now - self.last_time, 1e-9)
        self.last_time, self.last_step, self.next_progress = now, step, now + SHORTEST_INTERVAL
        self.emit(
            "progress",
            rank=self.rank,
            step=step,
            epoch=epoch,
            loss=finite(loss),
            total_steps=total_steps,
            steps_per_second=round(speed, 3),
            **self._use(),
        )

    def emit(self, event: str, **fields: Any) -> None:
        """Send one event; it is lost if nobody has read the pipe for long, or if it is longer than a line may be."""
        if self.pipe is None:
            return
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        if len(line) <= LONGEST:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self.pipe, line)


def finite(value: float) -> float | None:
    """JSON knows no infinity: what is not finite becomes null."""
    return value if math.isfinite(value) else None
