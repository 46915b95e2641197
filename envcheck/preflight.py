"""The verifier as a function: look at this machine for a job, judge what was seen, return the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck import checks
from envcheck.check import judge
from envcheck.collect import collect
from envcheck.machine import Machine
from envcheck.report import Report
from envcheck.sections.need import Need

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envcheck.check import Check
    from envcheck.facts import Facts


def preflight(
    need: Need | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    tiers: Iterable[str] = ("static",),
    strict: bool = False,
) -> Report:
    """Judge this machine for a job. The static tier takes a few tenths of a second and imports no torch.

    `environ` is the environment the workers will get, where that is not this process's own.
    """
    machine = Machine(need or Need()) if environ is None else Machine(need or Need(), environ=environ)
    facts = collect(machine, tiers)
    return Report(facts, judge(facts, applicable(checks.every_check(), facts)), strict)


def applicable(chosen: Iterable[Check], facts: Facts) -> list[Check]:
    """The checks whose sections belong to the tiers that were collected; the others were not asked for."""
    return [one for one in chosen if one.tier in facts.tiers]
