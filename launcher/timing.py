"""What measured ranks answered, folded into figures; and two of them held against each other, with their noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.measuring import Answer

LEAST_NOISE = 0.02
"""Two runs of one program in several processes differ by so much on a quiet machine."""
NOISE_OF_ONE = 0.15
"""Where memory happens to lie moves the steps of a whole process by so much; one process cannot show it."""
ENOUGH_PROCESSES = 3


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of one quantity."""

    median: float
    p95: float
    rounds: tuple[float, ...]
    """The median of each process."""
    mean: float
    """Means, and not medians, add up to the whole."""

    @property
    def noise(self) -> float:
        """The share by which it differs where nothing was changed."""
        if len(self.rounds) < ENOUGH_PROCESSES:
            return NOISE_OF_ONE
        middle = statistics.median(self.rounds)
        return max(LEAST_NOISE, (max(self.rounds) - min(self.rounds)) / middle if middle else 0.0)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One job, measured in one process group after another. Times are seconds."""

    clock: str
    step: Spread
    total: float
    """Of all measured steps together."""
    phases: Mapping[str, Spread]
    unseen: Mapping[str, str]
    save_first: float | None = None
    """The stall by the first save, whose memory is new, and by a later one; None where nothing was saved."""
    save_later: float | None = None
    samples_per_second: float | None = None
    tokens_per_second: float | None = None
    flops_per_step: int | None = None
    """Of one process."""
    peak_flops: float | None = None
    utilization: float | None = None
    """MFU: the share that the steps reach of what a product of matrices reaches on the same device."""
    peak_memory: int = 0
    """Bytes of the largest process."""


@dataclass(frozen=True, kw_only=True)
class Lever:
    """The job with one of its keys set otherwise."""

    key: str
    now: str
    """As the job has it."""
    value: str
    step: Spread | None = None
    ratio: float | None = None
    """Its step over that of the job as it is: the median over the rounds."""
    peak_memory: int | None = None
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `launcher bench` found."""

    job: str
    kind: str
    command: str
    date: str
    hardware: Mapping[str, str]
    versions: Mapping[str, str]
    device: str
    precision: str
    processes: int
    threads: int
    batch_size: int
    warmup: int
    steps: int
    figures: Figures
    load: float | None = None
    """Processes that wanted each of this machine's cores as the bench began; None where others measure."""
    synthetic: Figures | None = None
    levers: tuple[Lever, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of one quantity in two reports."""

    name: str
    before: float
    after: float
    noise: float

    @property
    def ratio(self) -> float:
        if not self.before:
            return math.inf if self.after else 1.0
        return self.after / self.before

    @property
    def verdict(self) -> str:
        return verdict(self.ratio, self.noise)


def fold(rounds: Sequence[Sequence[Answer]]) -> Figures:
    """The answers of the ranks of each round as figures: a step takes as long as on its slowest rank."""
    steps = [[max(each) for each in zip(*(rank.steps for rank in ranks), strict=False)] for ranks in rounds]
    leaders = [ranks[0] for ranks in rounds]
    total = sum(map(sum, steps))
    samples = _sum(leader.samples for leader in leaders)
    per_sample, flops = leaders[0].tokens_per_sample, leaders[0].flops_per_step
    step, peak = spread(steps), max((leader.peak_flops or 0 for leader in leaders), default=0) or None
    return Figures(
        clock=leaders[0].clock,
        step=step,
        total=total,
        phases=dict(_phases(rounds)),
        unseen=leaders[0].unseen,
        save_first=_median(leader.saves[0] for leader in leaders if leader.saves),
        save_later=_median(save for leader in leaders for save in leader.saves[1:]),
        samples_per_second=samples / total if samples else None,
        tokens_per_second=samples * per_sample / total if samples and per_sample else None,
        flops_per_step=flops,
        peak_flops=peak,
        utilization=flops / step.median / peak if flops and peak else None,
        peak_memory=max(rank.peak_memory for ranks in rounds for rank in ranks),
    )


def spread(rounds: Sequence[Sequence[float]]) -> Spread:
    """Of the values of all rounds; none of them is empty."""
    values = sorted(value for each in rounds for value in each)
    return Spread(
        median=statistics.median(values),
        p95=values[min(len(values) - 1, round(0.95 * (len(values) - 1)))],
        rounds=tuple(statistics.median(each) for each in rounds),
        mean=statistics.fmean(values),
    )


def compare(before: Report, after: Report) -> list[Difference]:
    """Of the step and of each phase that both have seen."""
    rows = {"step": (before.figures.step, after.figures.step)}
    for name, theirs in before.figures.phases.items():
        if name in after.figures.phases:
            rows[name] = (theirs, after.figures.phases[name])
    return [
        Difference(name=name, before=one.median, after=two.median, noise=max(one.noise, two.noise))
        for name, (one, two) in rows.items()
    ]


def verdict(ratio: float, noise: float) -> str:
    """Of a time over another."""
    if abs(ratio - 1) <= noise:
        return "no difference"
    return "slower" if ratio > 1 else "quicker"


def not_alike(before: Report, after: Report) -> Iterator[str]:
    """In what the two were measured differently, in words."""
    for name in ("job", "kind", "device", "precision", "processes", "threads", "batch_size"):
        yield from _other(name, getattr(before, name), getattr(after, name))
    for name in sorted(before.hardware.keys() | after.hardware.keys()):
        yield from _other(name, before.hardware.get(name), after.hardware.get(name))
    for name in sorted(before.versions.keys() | after.versions.keys()):
        yield from _other(name, before.versions.get(name), after.versions.get(name))


def _phases(rounds: Sequence[Sequence[Answer]]) -> Iterator[tuple[str, Spread]]:
    """The mean over the ranks: where one waits, another works."""
    for name in rounds[0][0].phases:
        of_rounds = []
        for ranks in rounds:
            seconds = [rank.phases.get(name, (0.0,) * len(rank.steps)) for rank in ranks]
            of_rounds.append([statistics.fmean(each) for each in zip(*seconds, strict=False)])
        yield name, spread(of_rounds)


def _other(name: str, before: Any, after: Any) -> Iterator[str]:
    if before != after:
        yield f"{name}: {before} and {after}"


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None
