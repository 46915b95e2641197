"""When a rank counts as hung, and the sentence that says where all ranks were. Pure.

A rank is hung when it has not moved for `hang.seconds`, and for much longer than its phase has ever taken in this run.
Once it has made enough steps, what a step takes is known, and a shorter time than `hang.seconds` may be enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import counted
from launcher.heartbeat import PHASES, STEP, Beat

SAFETY = 5.0
"""So many times longer than the longest seen of a phase is too long."""
OFTEN = 100
"""Steps of every rank after which it is known how long one takes: then `KNOWN` times the longest is too long, too."""
KNOWN = 20.0
FLOOR = 120.0
"""Seconds that a step may take however short all others were: data come late, and code is compiled anew."""
UNKNOWN = 10.0
"""So many times `hang.seconds` may take what has no usual length: the first step, building, validating, saving."""

Answer = Mapping[str, Any]
"""A rank's place: rank, step, phase, place (in words), waits (whether for its peers)."""


class Watch:
    """Learns from the beats of a node's ranks how long each phase takes."""

    def __init__(self, seconds: float, ranks: int) -> None:
        self._seconds = seconds
        self._last = [Beat()] * ranks
        self._since = [0.0] * ranks
        self._longest: dict[int, float] = {}
        self._steps = [0] * ranks

    def hung(self, beats: Sequence[Beat], now: float) -> list[int]:
        """The local ranks that are hung. Call it often, with a monotonic clock."""
        for rank, beat in enumerate(beats):
            last = self._last[rank]
            if beat != last:
                if last.count and last.step > 1:  # the first step compiles and warms up
                    self._steps[rank] += last.phase == STEP
                    self._longest[last.phase] = max(self._longest.get(last.phase, 0.0), now - self._since[rank])
                self._last[rank], self._since[rank] = beat, now
        return [rank for rank, beat in enumerate(beats) if beat.count and now - self._since[rank] > self._limit(beat)]

    def _limit(self, beat: Beat) -> float:
        longest = self._longest.get(beat.phase, 0.0)
        if beat.phase != STEP or beat.step <= 1:
            return max(self._seconds * UNKNOWN, SAFETY * longest)
        learnt = max(FLOOR, KNOWN * longest) if min(self._steps) >= OFTEN else self._seconds
        return max(min(self._seconds, learnt), SAFETY * longest)


def sentence(answers: Sequence[Answer]) -> str:
    """`3 of 4 ranks wait in all-reduce at step 812; rank 1 is in DataLoader at step 812`."""
    groups: dict[tuple[str, bool, int], list[int]] = {}
    for answer in sorted(answers, key=lambda answer: (not answer["waits"], answer["rank"])):
        groups.setdefault((answer["place"], answer["waits"], answer["step"]), []).append(answer["rank"])
    parts = []
    for (place, waits, step), ranks in groups.items():
        who = f"rank {ranks[0]}" if len(ranks) == 1 else f"{len(ranks)} of {counted(len(answers), 'rank')}"
        does = ("waits" if len(ranks) == 1 else "wait") if waits else ("is" if len(ranks) == 1 else "are")
        parts.append(f"{who} {does} {place} at step {step}")
    return "; ".join(parts)


def culprit(answers: Sequence[Answer]) -> Answer | None:
    """The rank that the others wait for: the one furthest back that waits for nobody."""
    return min(
        (answer for answer in answers if not answer["waits"]),
        key=lambda answer: (answer["step"], answer["rank"]),
        default=None,
    )


def cause(answers: Sequence[Answer], stuck: Sequence[int]) -> dict[str, Any]:
    """The root cause of an attempt that hung; `stuck` are the ranks that were noticed first."""
    found = culprit(answers)
    rank = found["rank"] if found else min(stuck)
    silent = f"{'ranks' if len(stuck) > 1 else 'rank'} {', '.join(map(str, stuck))} did not move any more"
    return {
        "kind": "hang",
        "rank": rank,
        "step": found["step"] if found else None,
        "message": f"the training hangs: {sentence(answers) if answers else silent}",
        "hint": "the stack of every thread of every rank is in its log",
    }


def phase_in_words(phase: int) -> str:
    return PHASES[phase] if 0 <= phase < len(PHASES) else "somewhere"
