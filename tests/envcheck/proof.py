"""The form of a proof: for one check and one failure mode, a planted fault, its healthy twin and the missing source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from envcheck.check import REGISTRY, Check, Status
from envcheck.checks import every_check
from envcheck.facts import Facts
from tests.envcheck.bench import Bench, real_facts
from tests.envcheck.namespaces import demand

every_check()  # fills REGISTRY

Plant = Literal["N", "F", "R"]
"""N: the fault really happens here; F: a fake root, tool or library; R: text recorded elsewhere."""

Plan = dict[str, Any] | Callable[[Bench], dict[str, Any]]
"""What a natural proof passes to `real_facts`, or how it is made."""


@dataclass(frozen=True)
class Proof:
    """`fault` and `healthy` give the facts with the fault on and off; `saw` must be in the check's sentence."""

    check: str
    mode: str
    plant: Plant
    how: str
    """One phrase for the coverage page: what was planted."""
    saw: str
    fault: Callable[[Bench], Facts]
    healthy: Callable[[Bench], Facts]
    status: Status
    slow: bool = False

    @property
    def judged(self) -> Check:
        return REGISTRY[self.check]

    def __str__(self) -> str:
        return f"{self.check}-{self.mode}-{self.how.replace(' ', '_')}"


def fake(
    check: str,
    mode: str,
    how: str,
    saw: str,
    *,
    plant: Callable[[Bench], object],
    base: Callable[[Bench], object] = lambda bench: None,
    cure: Callable[[Bench], object] = lambda bench: None,
    status: Status | None = None,
    kind: Plant = "F",
) -> Proof:
    """On paper: the healthy machine is `base` and `cure`, the faulty one `base` and `plant`."""
    judged = REGISTRY[check]
    sections = [*judged.requires, *judged.wishes]

    def machine(*steps: Callable[[Bench], object]) -> Callable[[Bench], Facts]:
        def seen(bench: Bench) -> Facts:
            for step in steps:
                step(bench)
            return bench.facts(sections)

        return seen

    return Proof(check, mode, kind, how, saw, machine(base, plant), machine(base, cure), status or judged.severity)


def natural(
    check: str,
    mode: str,
    how: str,
    saw: str,
    *,
    fault: Plan,
    healthy: Plan | None = None,
    status: Status | None = None,
    needs: tuple[str, ...] = (),
) -> Proof:
    """For real: `fault` and `healthy` are the arguments of `real_facts` (environ, wrapper, options, cwd).

    A plan may be a function of the bench, whose root is a folder to plant files in. `needs` are commands, or
    `namespaces`, without which the proof is skipped with that reason.
    """
    judged = REGISTRY[check]

    def seen(plan: Plan) -> Callable[[Bench], Facts]:
        def look(bench: Bench) -> Facts:
            demand(*needs)
            arguments = dict(plan(bench) if callable(plan) else plan)
            return real_facts(**{**arguments, "options": [*arguments.get("options", []), "--select", check]})

        return look

    return Proof(check, mode, "N", how, saw, seen(fault), seen(healthy or {}), status or judged.severity)
