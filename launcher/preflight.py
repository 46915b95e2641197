"""Before training: this node's facts, judged for this job while the agent imports torch, so that it costs no time."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from envcheck import checks
from envcheck.check import Result, Status, applicable, judge
from envcheck.collect import SOURCES, collect
from envcheck.facts import Facts, FactsError, as_json, decode, load
from envcheck.machine import Machine
from envcheck.sections import SECTIONS
from envcheck.sections.need import Need
from launcher.plan import Plan
from launcher.processes import MARK
from launcher.store import RunFolder, write_whole

FRESH = 60.0
"""Seconds for which an earlier attempt's facts are taken as they were."""

REFUSED = {
    "off": frozenset[Status](),
    "warn": frozenset[Status](),
    "fail": frozenset({Status.FAIL}),
    "strict": frozenset({Status.FAIL, Status.WARN, Status.UNKNOWN}),
}
"""What each `preflight` setting does not start training with."""


TOLD = {"warn": frozenset({Status.FAIL})}
"""What a setting starts training with, but not without a word."""


class Look(NamedTuple):
    """What came of the look at a node."""

    refused: list[Result]
    """What the job does not start with."""
    warnings: list[str]


class Preflight:
    """Collects in a thread from the start; `judge`, called where it is `wanted`, adds what the agent saw of torch."""

    def __init__(
        self, plan: Plan, folder: RunFolder, node_rank: int, environ: Mapping[str, str], *, look: bool = True
    ) -> None:
        self._mode = plan.spec.preflight if look else "off"
        self._path = folder.node_facts(node_rank)
        self._need = _need(plan, node_rank)
        self._environ = environ
        self._failure: str | None = None
        self._facts: Facts | None = self._fresh_facts() if look else None
        self._own = f"{MARK}={plan.run_id}"
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self.wanted = self._mode != "off" and self._facts is None
        """Whether there is anything to look at: it is not switched off, and no attempt has looked a moment ago."""
        if self.wanted:
            self._begin()

    @property
    def collecting(self) -> bool:
        return self._thread.is_alive()

    def judge(self, probe: Mapping[str, Any]) -> Look:
        """Store the facts and judge them, once they are collected.

        `probe` is what the agent says of torch: its `section`, or why that is `absent`.
        """
        assert self._facts is not None  # noqa: S101 - it is no longer collecting
        facts = dataclasses.replace(_with_torch(self._facts, probe), tiers=("static", "torch"))
        warnings = [self._failure] if self._failure else []
        try:
            self._path.parent.mkdir(exist_ok=True, mode=0o700)
            write_whole(self._path, json.dumps(as_json(facts), indent=1))
        except OSError as error:  # a full disk; whether that ends the job is for the checks to say
            warnings.append(f"{self._path}: what was seen of this node could not be stored: {error.strerror}")
        results = _results(facts)
        told = [one for one in results if one.status in TOLD.get(self._mode, ())]
        warnings += [f"{one.id} {one.title}: {one.saw}; {one.remedy}" for one in told]
        return Look([one for one in results if one.status in REFUSED[self._mode]], warnings)

    def _begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads may be started here
            self._nothing_known(error)

    def _collect(self) -> None:
        try:
            self._facts = collect(Machine(self._need, environ=dict(self._environ), own=self._own))
        except Exception as error:
            self._nothing_known(error)

    def _nothing_known(self, error: Exception) -> None:
        """That is told, and the checks judge what they do not know."""
        self._failure = f"this node could not be looked at: {type(error).__name__}: {error}"
        absent = {name: self._failure for name, source in SOURCES.items() if source.tier == "static"}
        self._facts = Facts(socket.gethostname(), "", sections={"need": self._need}, absent=absent)

    def _fresh_facts(self) -> Facts | None:
        """What an earlier attempt saw a moment ago, unless it was refused for it, which somebody may have mended, or
        the job wants something else now."""
        try:
            if not self._path.is_file() or time.time() - self._path.stat().st_mtime > FRESH:
                return None
            facts = load(self._path)
        except (OSError, FactsError):
            return None
        if not facts.collected_at or facts.get("need") != self._need:
            return None
        if any(one.status in REFUSED[self._mode] for one in _results(facts)):
            return None
        return facts


def _with_torch(facts: Facts, probe: Mapping[str, Any]) -> Facts:
    if "absent" in probe:
        return facts.without("torch", probe["absent"])
    try:
        return facts.with_section("torch", decode(SECTIONS["torch"], dict(probe["section"]), "torch"))
    except FactsError as error:
        return facts.without("torch", str(error))


def _results(facts: Facts) -> list[Result]:
    return judge(facts, applicable(checks.every_check(), facts))


def _need(plan: Plan, node_rank: int) -> Need:
    training = plan.spec.training
    return Need(
        nodes=plan.nodes,
        node_rank=node_rank,
        rendezvous_host="localhost" if plan.spec.backend == "local" else None,
        interface_chosen=True,
        procs_per_node=plan.procs_per_node,
        device=plan.device,
        numerics=training.numerics,
        run_dir=plan.run_dir,
        loader_workers=plan.spec.loader.workers,
        batch_size=training.batch_size,
        accumulate=training.accumulate,
    )
