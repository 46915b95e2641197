"""The sweep: which settings of a job are tried, how they are chosen, and what counts as better."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from launcher.bounds import at_least, at_most
from launcher.section import Positive, Section, section
from launcher.spec import Mode

Sampler = Literal["tpe", "random", "grid", "cmaes"]
PrunerKind = Literal["none", "median", "halving"]
DimensionKind = Literal["float", "int", "choice"]

MOST_TRIALS = 100_000


@section
class Pruner(Section):
    kind: PrunerKind = "none"
    """none; median: a trial ends that is worse than the median of the earlier ones at the same step; halving: of the
    trials that come to a rung, one in `factor` goes on."""
    startup: Positive = 4
    """median: so many trials run to their end before any is pruned."""
    warmup: Annotated[int, at_least(0)] = 0
    """No trial is pruned before this step; for halving the first rung, 0: chosen by the first trial."""
    factor: Annotated[int, at_least(2), at_most(64)] = 4
    """halving: how much further each rung is than the one before it."""


@section
class SweepSpec(Section):
    metric: str
    """What is compared: a validation metric, or another value that the run's record ends with."""
    mode: Mode = "min"
    """min: smaller is better; max: larger is better."""
    space: dict[str, Any]
    """The settings that vary, by their keys in the job file: `{float: [low, high]}`, `{int: [low, high]}`, each with
    `log: true` or `step: …` if wanted, or `{choice: [a, b]}`."""
    trials: Annotated[int, at_least(1), at_most(MOST_TRIALS)] | None = None
    """How many; a grid makes all of its points without it."""
    sampler: Sampler = "tpe"
    """tpe: where earlier trials were good (Optuna's tree-structured Parzen estimator); random; grid: every combination;
    cmaes: an evolution strategy, for numbers."""
    parallel: Annotated[int, at_least(1), at_most(1024)] = 1
    """Trials at a time on one machine, which share its GPUs and cores out."""
    workers: Annotated[int, at_least(1), at_most(1024)] = 1
    """Machines, or workers on one, that take part; what a trial may know of the others depends on it."""
    seed: Annotated[int, at_least(0), at_most(2**63 - 1)] = 0
    """From it and a trial's number follow that trial's choices."""
    pruner: Pruner = field(default_factory=Pruner)
    """Which trials are ended early."""
    storage: str | None = None
    """Where the trials are kept: a URL of Redis or of a relational database, or `env:NAME`, the variable that holds it;
    by default a journal in the sweep's folder."""

    @property
    def count(self) -> int:
        """How many trials there will be."""
        if self.sampler != "grid":
            return self.trials or 0
        points = math.prod(dimension.size for dimension in dimensions(self).values())
        return min(points, self.trials or points)

    @property
    def learns(self) -> bool:
        """Whether what a trial does depends on how earlier ones went."""
        return self.sampler in ("tpe", "cmaes") or self.pruner.kind != "none"

    def known_before(self, number: int) -> int:
        """How many of the first trials are over, by rule, when this one is decided: whoever was quicker, and whoever
        died, it knows these and no others, so that it is the same trial each time."""
        return max(0, number - self.parallel * self.workers + 1) if self.learns else 0


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values that one setting may have."""

    kind: DimensionKind
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        """How many values there are on a grid."""
        if self.kind == "choice":
            return len(self.choices)
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    @property
    def values(self) -> tuple[Any, ...]:
        """All of them, for a grid; only a number of type float without a step has no end of them."""
        if self.kind == "choice":
            return self.choices
        points = (self.low + number * (self.step or 1) for number in range(self.size))
        return tuple(map(int, points)) if self.kind == "int" else tuple(min(point, self.high) for point in points)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to try whether the job takes them."""
        if self.kind == "choice":
            return self.choices
        as_kind = int if self.kind == "int" else float
        return tuple(dict.fromkeys((as_kind(self.low), as_kind(self.high))))


def dimensions(spec: SweepSpec) -> dict[str, Dimension]:
    """The space of a sweep that was checked."""
    return {key: dimension(described) for key, described in spec.space.items()}


def dimension(described: Mapping[str, Any]) -> Dimension:
    if "choice" in described:
        return Dimension(kind="choice", choices=tuple(described["choice"]))
    kind: DimensionKind = "int" if "int" in described else "float"
    low, high = described[kind]
    return Dimension(kind=kind, low=low, high=high, step=described.get("step"), log=described.get("log", False))


def grid_point(spec: SweepSpec, number: int) -> dict[str, Any]:
    """The settings of a trial of a grid; the last key varies first."""
    space = dimensions(spec)
    points: Iterator[tuple[Any, ...]] = itertools.product(*(each.values for each in space.values()))
    return dict(zip(space, next(itertools.islice(points, number, None)), strict=True))
