"""Two runs' ledgers side by side: the first step whose samples or loss differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher import readback


@dataclass(frozen=True)
class Entry:
    """One step: the digest of its samples' order, None where launcher does not know it, and the loss in hexadecimal."""

    order: str | None
    loss: str


@dataclass(frozen=True)
class Ledger:
    start: str | None = None
    """Digest of the weights before the first step."""
    steps: Mapping[int, Entry] = field(default_factory=dict)


def read(path: Path) -> Ledger:
    """A run's ledger, empty where there is none; damaged lines are passed over."""
    start: str | None = None
    steps: dict[int, Entry] = {}
    for line in readback.json_lines(path):
        step, order, loss = line.get("step"), line.get("order"), line.get("loss")
        if step == 0 and isinstance(line.get("start"), str):
            start = line["start"]
        elif isinstance(step, int) and isinstance(loss, str) and isinstance(order, str | None):
            steps[step] = Entry(order, loss)
    return Ledger(start, steps)


def first_other_order(one: Ledger, two: Ledger) -> int | None:
    """The first step in which the two did not see the same samples in the same order."""
    return next((step for step in _common(one, two) if one.steps[step].order != two.steps[step].order), None)


def first_other_loss(one: Ledger, two: Ledger) -> int | None:
    return next((step for step in _common(one, two) if one.steps[step].loss != two.steps[step].loss), None)


def _common(one: Ledger, two: Ledger) -> list[int]:
    return sorted(one.steps.keys() & two.steps.keys())
