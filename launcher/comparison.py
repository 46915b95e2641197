"""Two runs of one job, asked in turn: the same order? the same start? the same steps? the same end?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from launcher import ledger, readback, store, tensorfile
from launcher.store import RunFolder

Answer = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What came of one question."""

    question: str
    answer: Answer
    detail: str = ""


def compare(one: RunFolder, two: RunFolder) -> list[Finding]:
    """All questions, in the order in which a difference goes on from one to the next."""
    left, right = ledger.read(one.ledger), ledger.read(two.ledger)
    return [
        _order(left, right),
        _asked("same start", left.start, right.start, "the weights before the first step"),
        _steps(left, right),
        _file("same metrics", one.metrics, two.metrics),
        *_checkpoints(one, two),
    ]


def diverged_at(one: RunFolder, two: RunFolder) -> int | None:
    """The first step whose samples or loss differ."""
    left, right = ledger.read(one.ledger), ledger.read(two.ledger)
    steps = (ledger.first_other_order(left, right), ledger.first_other_loss(left, right))
    return min((step for step in steps if step is not None), default=None)


def _order(left: ledger.Ledger, right: ledger.Ledger) -> Finding:
    step = ledger.first_other_order(left, right)
    if step is not None:
        return Finding("same order", "no", f"the samples of step {step} differ")
    known = any(left.steps[step].order for step in left.steps.keys() & right.steps.keys())
    return Finding("same order", "yes" if known else "unknown", "" if known else "no order is recorded")


def _steps(left: ledger.Ledger, right: ledger.Ledger) -> Finding:
    step = ledger.first_other_loss(left, right)
    if step is not None:
        losses = f"{left.steps[step].loss} and {right.steps[step].loss}"
        return Finding("same steps", "no", f"the loss of step {step} differs: {losses}")
    if missing := sorted(left.steps.keys() ^ right.steps.keys()):
        return Finding("same steps", "no", f"step {missing[0]} is in one of the two ledgers only")
    return Finding("same steps", "yes", f"{len(left.steps)} losses") if left.steps else Finding("same steps", "unknown")


def _checkpoints(one: RunFolder, two: RunFolder) -> Iterator[Finding]:
    """The last checkpoint's weights, optimizer state and the rest of the state."""
    names = [store.record(folder.path).checkpoint or "" for folder in (one, two)]
    if names[0] != names[1] or not names[0]:
        yield Finding("same last checkpoint", "no", f"{names[0] or 'none'} and {names[1] or 'none'}")
        return
    left, right = (folder.checkpoints / names[0] for folder in (one, two))
    shards = sorted({path.name for path in (*left.glob("shard-*"), *right.glob("shard-*"))})
    parts = [(f"same {Path(name).stem}", name, tensorfile.first_difference) for name in shards]
    for question, file, differs in [*parts, _STATE] if shards else _PARTS:
        yield _part(question, left / file, right / file, differs)


def _part(question: str, left: Path, right: Path, differs: Callable[[Path, Path], str | None]) -> Finding:
    try:
        difference = differs(left, right)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(question, "unknown", f"{left.name} cannot be read: {error}")
    return Finding(question, "no" if difference else "yes", difference or "")


def _other_state(left: Path, right: Path) -> str | None:
    return _first_place(readback.json_object(left), readback.json_object(right), "")


def _first_place(left: object, right: object, where: str) -> str | None:
    """The dotted place of the first value that differs."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if found := _first_place(left.get(key), right.get(key), f"{where}.{key}" if where else key):
                return found
        return None
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        places = (_first_place(*pair, f"{where}[{place}]") for place, pair in enumerate(zip(left, right, strict=True)))
        return next((place for place in places if place), None)
    return None if left == right else f"{where}: {str(left)[:40]} and {str(right)[:40]}"


def _asked(question: str, left: str | None, right: str | None, what: str) -> Finding:
    if left is None or right is None:
        return Finding(question, "unknown", f"{what}: not recorded")
    return Finding(question, "yes" if left == right else "no", "" if left == right else f"{what} differ")


def _file(question: str, left: Path, right: Path) -> Finding:
    try:
        same = left.read_bytes() == right.read_bytes()
    except OSError as error:
        return Finding(question, "unknown", str(error))
    return Finding(question, "yes" if same else "no", "" if same else f"{left.name} differs")


_STATE = ("same state", "training.json", _other_state)
_PARTS = (
    ("same weights", "model.safetensors", tensorfile.first_difference),
    ("same optimizer", "training.safetensors", tensorfile.first_difference),
    _STATE,
)
