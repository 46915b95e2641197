"""Marks on a clock: when a step began, and which phase it was in from when to when."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

STEP, REST = "a step begins", "the rest"
PHASES = (
    "data wait",
    "host to device",
    "forward",
    "backward",
    "reduce wait",
    "optimizer",
    "validation",
    "checkpoint stall",
)


class Clock(Protocol):
    """Marks are whatever it likes; only afterwards are they turned into times."""

    name: str

    def mark(self, again: Any = None) -> Any:
        """Now; `again` is a mark of which nobody wants to know any more."""
        ...

    def gaps(self, marks: Sequence[Any]) -> list[float]:
        """Seconds between each mark and the next."""
        ...


class HostClock:
    name = "host"

    def mark(self, again: int | None = None) -> int:
        return time.perf_counter_ns()

    def gaps(self, marks: Sequence[int]) -> list[float]:
        return [(after - before) / 1e9 for before, after in itertools.pairwise(marks)]


class DeviceClock:
    """Events on the stream that trains: what the GPU itself waits for or does, and not when it was told to."""

    name = "device"

    def mark(self, again: torch.cuda.Event | None = None) -> torch.cuda.Event:
        event = again if again is not None else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def gaps(self, marks: Sequence[torch.cuda.Event]) -> list[float]:
        torch.cuda.synchronize()
        return [before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(marks)]


class Stopwatch:
    """Takes marks while it runs; a phase within a phase is not counted to the outer one."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.runs = False
        self._marks: list[tuple[str, Any]] = []
        self._within: list[str] = []
        self._reduced: Any = None
        self.label: Callable[[str], AbstractContextManager[Any]] | None = None
        """What a profiler is to show of a phase."""
        self._labels: list[AbstractContextManager[Any]] = []

    def begin_step(self) -> None:
        if self.runs:
            self._marks.append((STEP, self.clock.mark()))
            if self._within:
                self._marks.append((self._within[-1], self._marks[-1][1]))

    def enter(self, phase: str) -> None:
        self._within.append(phase)
        if self.label is not None:
            self._labels.append(self.label(phase))
            self._labels[-1].__enter__()
        if self.runs:
            self._marks.append((phase, self.clock.mark()))

    def leave(self) -> None:
        left = self._within.pop()
        if self._labels:
            self._labels.pop().__exit__(None, None, None)
        if self.runs:
            if left == "backward" and self._reduced is not None:
                self._marks.append(("reduce wait", self._reduced))
                self._reduced = None
            self._marks.append((self._within[-1] if self._within else REST, self.clock.mark()))

    def gradient_ready(self) -> None:
        """From the last of these in a backward pass on, it only waits for the other processes."""
        if self.runs:
            self._reduced = self.clock.mark(self._reduced)

    def times(self) -> tuple[list[float], dict[str, list[float]]]:
        """Seconds of each step, and of each phase in each step. The last step has only begun and is left out."""
        gaps = self.clock.gaps([mark for _, mark in self._marks])
        steps: list[dict[str, float]] = []
        for (phase, _), seconds in zip(self._marks, [*gaps, 0.0], strict=bool(self._marks)):
            if phase == STEP:
                steps.append({})
            name = REST if phase == STEP else phase
            steps[-1][name] = steps[-1].get(name, 0.0) + seconds
        del steps[-1:]
        seen = [name for name in (*PHASES, REST) if any(name in step for step in steps)]
        return [sum(step.values()) for step in steps], {name: [step.get(name, 0.0) for step in steps] for name in seen}


def timed(watch: Stopwatch, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, as a phase."""

    def within(*args: Any, **kwargs: Any) -> Any:
        watch.enter(phase)
        try:
            return function(*args, **kwargs)
        finally:
            watch.leave()

    return within
