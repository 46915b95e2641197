"""What `launcher bench` asks of each rank, and what the rank answers: plain records that travel as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher import typed

VARIABLE = "LAUNCHER_MEASURE"
"""The variable of a rank's environment that holds the request."""

LEAST_WARM_UP = 3
"""The first step makes the optimizer's state; the floating-point operations of the second are counted."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Measure `steps` steps after `warmup` others."""

    warmup: int
    steps: int
    synthetic: bool = False
    """Whether the first batch is handed out again and again, so that no step waits for its data."""
    profile: bool = False
    """Whether rank 0 is looked at by torch.profiler meanwhile, which makes its steps slower."""

    @property
    def length(self) -> int:
        """Steps of the whole run: one bounds the last measured step, and two saves are made after that."""
        return self.warmup + self.steps + 2

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def parse(cls, text: str) -> Request:
        return typed.read(cls, json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one rank measured. Times are seconds, one for each measured step."""

    clock: str
    """host: this process's own; device: events on the GPU's stream."""
    steps: tuple[float, ...]
    phases: Mapping[str, tuple[float, ...]]
    """By name; `the rest` is what belongs to none of them."""
    unseen: Mapping[str, str]
    """Phases that cannot be told apart from outside of this loop, and why."""
    saves: tuple[float, ...]
    """The stall of the training by each save."""
    samples: int | None
    """Samples in the measured steps, over all processes; None where no data set tells."""
    tokens_per_sample: int | None = None
    """Where a batch begins with whole numbers of shape [samples, length]."""
    flops_per_step: int | None = None
    """Floating-point operations of one step on this rank."""
    peak_flops: float | None = None
    """Those of a large product of two matrices on this rank's device, in the job's precision, a second."""
    peak_memory: int = 0
    """Bytes: of the process on the CPU, of torch's allocator on a GPU."""
    hardware: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Raises ValueError, with the place, where it is not one."""
        return typed.read(cls, json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operator or kernel, over all profiled steps. Times are seconds."""

    name: str
    calls: int
    own: float
    """Without the operators it called."""
    whole: float
    on_device: float


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Where the process waits for the device or for other processes."""

    name: str
    phase: str
    calls: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of the last profiled step, in seconds from its beginning."""

    lane: str
    name: str
    begin: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What torch.profiler saw of rank 0."""

    steps: int
    seconds: float
    busy: float
    """Of these, how long the GPU computed; without one, how long an operator of torch ran."""
    busy_what: str
    operations: tuple[Operation, ...]
    waits: tuple[Wait, ...]
    spans: tuple[Span, ...]
