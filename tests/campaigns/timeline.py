"""What each death in a run cost, from its marks and its events afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from launcher.manifest import step_of
from tests.campaigns.scene import Mark


@dataclass(frozen=True)
class Death:
    """A kill that met its victim."""

    time: float
    moment: str
    victim: str
    alone: float | None
    """Seconds in which what a killed launcher had left was gone, where that was waited for."""


@dataclass(frozen=True)
class Leg:
    """One attempt: where it started, how far it came, what it reported as saved."""

    begun: float
    ended: float
    start: int
    reached: int
    saved: int
    first_step: float | None
    agents: frozenset[int] = frozenset()
    """The processes that import torch; the same as in the attempt before where the nodes are warm."""
    steps: tuple[float, ...] = ()
    """When each of its steps began."""


def legs(events: Sequence[Mapping[str, Any]], marks: Sequence[Mark], accumulate: int) -> list[Leg]:
    begun = [(_time(e), e) for e in events if e.get("event") == "attempt"]
    found, saved = [], 0
    for (start, event), (end, _) in pairwise([*begun, (float("inf"), {})]):
        steps = [
            mark.time for mark in marks if mark.rank == 0 and mark.what == "microbatch" and start < mark.time < end
        ]
        for each in events:
            at = _time(each)
            if each.get("event") == "checkpoint" and start <= at < end:
                saved = max(saved, each["step"])
        first = step_of(event.get("resume_from") or "") or 0
        reached = first + len(steps) // accumulate
        agents = {e["pid"] for e in events if e.get("event") == "started" and start <= _time(e) < end}
        first_step = steps[0] if steps else None
        found.append(Leg(start, end, first, reached, saved, first_step, frozenset(agents), tuple(steps[::accumulate])))
    return found


def faults(ways: Sequence[Leg], every: int, *, waits: bool = False) -> Iterator[str]:
    """Broken promises: a saved step that was lost, or more work repeated than two checkpoints can cost.

    A checkpoint is written while the training goes on, and the next one waits for it. So the last step before that next
    one can be done while the save is still under way, and a death then costs all since the save before it. Where the
    training `waits` for each save, none is under way when a step is done.
    """
    most = every if waits else 2 * every
    for before, after in pairwise(ways):
        if after.start < before.saved:
            yield f"step {before.saved} was reported as saved and the next attempt began at {after.start}"
        if before.reached - after.start > most:
            yield f"{before.reached - after.start} steps were lost at step {before.reached}, saving every {every}"


def unsaved(ways: Sequence[Leg], deaths: Sequence[Death], every: int) -> Iterator[float]:
    """For each death that met a save under way: seconds since the step that was being saved."""
    for before, after in pairwise(ways):
        due = before.reached // every * every
        if after.start < due and 0 < due - before.start < len(before.steps):
            ends = [death.time for death in deaths if before.steps[due - before.start] <= death.time < after.begun]
            yield from (end - before.steps[due - before.start] for end in ends[:1])


def lost(ways: Sequence[Leg]) -> list[int]:
    return [max(0, before.reached - after.start) for before, after in pairwise(ways)]


def returns(ways: Sequence[Leg], deaths: Sequence[Death], *, warm: bool) -> list[float]:
    """Seconds from a death to the next training step, for each time that the run came back on warm nodes, or cold."""
    found = []
    for before, way in pairwise(ways):
        if (way.agents == before.agents) != warm:
            continue
        if way.first_step is not None:
            earlier = [death.time for death in deaths if death.time < way.first_step]
            if earlier and not any(
                other.first_step and max(earlier) < other.first_step < way.first_step for other in ways
            ):
                found.append(way.first_step - max(earlier))
    return found


def _time(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
