"""A profile of a few steps by torch.profiler: which operators, where it waits, how long nothing runs, and the trace."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from launcher.measuring import Operation, Profile, Span, Wait
from launcher.worker.measure.stopwatch import PHASES, REST, Stopwatch

PREFIX = "launcher: "
"""Of the labels that name phases in the trace."""

MOST_OPERATIONS = 50
MOST_SPANS = 1500

WAITS = (
    "aten::item",
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "gloo:",
    "nccl:",
    "c10d::",
)
"""How operators begin that wait for the device or for other processes."""


class Tracer:
    """Looks at a process between `start` and `stop`."""

    def __init__(self, watch: Stopwatch, device: torch.device) -> None:
        self._watch = watch
        self._on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        self._profile: Any = profile(activities=activities, acc_events=True)

    def start(self) -> None:
        self._profile.start()
        self._watch.label = lambda phase: record_function(PREFIX + phase)

    def stop(self) -> None:
        self._watch.label = None
        self._profile.stop()

    def profile(self) -> Profile:
        """What was seen; after `stop`."""
        steps, _ = self._watch.times()
        events = [event for event in self._profile.events() or () if event.time_range.end > event.time_range.start]
        seconds = sum(steps)
        computing = [event for event in events if _computes(event, on_gpu=self._on_gpu)]
        over = max((event.time_range.end for event in events), default=0.0)
        return Profile(
            steps=len(steps),
            seconds=seconds,
            busy=min(seconds, _covered(computing) / 1e6),
            busy_what="the GPU computes" if self._on_gpu else "an operator of torch runs",
            operations=tuple(_operations(self._profile.key_averages())),
            waits=tuple(_waits(events)),
            spans=tuple(_spans(events, over - steps[-1] * 1e6 if steps else over)),
        )

    def export(self, path: Path) -> None:
        """The trace as Chrome and Perfetto read it."""
        with tempfile.NamedTemporaryFile(suffix=".json", dir=path.parent) as plain:
            self._profile.export_chrome_trace(plain.name)
            with Path(plain.name).open("rb") as source, gzip.open(path, "wb") as packed:
                shutil.copyfileobj(source, packed)


def _computes(event: Any, *, on_gpu: bool) -> bool:
    if on_gpu:
        return bool(event.device_type == DeviceType.CUDA and not event.name.startswith(PREFIX))
    return bool(event.name.startswith(("aten::", "autograd::", "mkldnn", "torch_")) or "Backward" in event.name)


def _covered(events: Iterable[Any]) -> float:
    """Microseconds in which at least one of them ran."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted((event.time_range.start, event.time_range.end) for event in events):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


def _operations(averages: Iterable[Any]) -> Iterator[Operation]:
    """The dearest first."""
    found = [
        Operation(
            name=each.key,
            calls=each.count,
            own=each.self_cpu_time_total / 1e6,
            whole=each.cpu_time_total / 1e6,
            on_device=each.self_device_time_total / 1e6,
        )
        for each in averages
        if not each.key.startswith(PREFIX)
    ]
    yield from sorted(found, key=lambda each: -max(each.own, each.on_device))[:MOST_OPERATIONS]


def _waits(events: Sequence[Any]) -> Iterator[Wait]:
    """By name and phase, the longest first; one within another of them is counted once."""
    found: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.device_type == DeviceType.CPU and _waiting(event) and not any(map(_waiting, _callers(event))):
            seconds = (event.time_range.end - event.time_range.start) / 1e6
            found.setdefault((event.name, _phase(event)), []).append(seconds)
    waits = [Wait(name=name, phase=phase, calls=len(each), seconds=sum(each)) for (name, phase), each in found.items()]
    yield from sorted(waits, key=lambda each: -each.seconds)


def _waiting(event: Any) -> bool:
    return bool(event.name.startswith(WAITS))


def _callers(event: Any) -> Iterator[Any]:
    while (event := event.cpu_parent) is not None:
        yield event


def _phase(event: Any) -> str:
    return next((each.name[len(PREFIX) :] for each in _callers(event) if each.name.startswith(PREFIX)), REST)


def _spans(events: Sequence[Any], begin: float) -> Iterator[Span]:
    """The phases, outermost operators and kernels from a moment on, the longest of them."""
    chosen = []
    for event in events:
        lane = _lane(event)
        if lane and event.time_range.start >= begin:
            first, last = ((edge - begin) / 1e6 for edge in (event.time_range.start, event.time_range.end))
            chosen.append(Span(lane=lane, name=event.name.removeprefix(PREFIX), begin=first, end=last))
    yield from sorted(chosen, key=lambda span: span.begin - span.end)[:MOST_SPANS]


def _lane(event: Any) -> str | None:
    if event.device_type == DeviceType.CUDA:
        return None if event.name.startswith(PREFIX) else "GPU"
    if event.name.startswith(PREFIX):
        return "phases" if event.name[len(PREFIX) :] in PHASES else None
    caller = event.cpu_parent
    return "operators" if caller is None or caller.name.startswith(PREFIX) else None
