"""Before training: this node's facts, judged for this job while the agent imports torch, so that it costs no time."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from envcheck import checks
from envcheck.check import Result, Status, judge
from envcheck.collect import collect
from envcheck.facts import Facts, FactsError, as_json, decode, load
from envcheck.machine import Machine
from envcheck.preflight import applicable
from envcheck.sections import SECTIONS
from envcheck.sections.need import Need
from launcher.plan import Plan
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


class Preflight:
    """Collects in a thread from the start; `judge`, called where it is `wanted`, adds what the agent saw of torch."""

    def __init__(self, plan: Plan, folder: RunFolder, node_rank: int, environ: Mapping[str, str]) -> None:
        self._mode = plan.spec.preflight
        self._path = folder.node_facts(node_rank)
        self._need = _need(plan, node_rank)
        self._environ = environ
        self._facts: Facts | None = self._fresh_facts()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        if self.wanted:
            self._thread.start()

    @property
    def wanted(self) -> bool:
        """Whether there is anything to look at: it is not switched off, and no attempt has looked a moment ago."""
        return self._mode != "off" and self._facts is None

    def judge(self, torch: Mapping[str, Any] | None) -> list[Result]:
        """Store the facts, with `torch` as the agent's probe saw it; return what the job does not start with."""
        self._thread.join()
        facts = self._facts
        if facts is None:  # the collector itself failed; its traceback is in the node's log
            return []
        if torch is not None:
            section = decode(SECTIONS["torch"], dict(torch), "torch")
            facts = dataclasses.replace(facts, tiers=("static", "torch")).with_section("torch", section)
        self._path.parent.mkdir(exist_ok=True, mode=0o700)
        write_whole(self._path, json.dumps(as_json(facts), indent=1))
        return self._refusals(facts)

    def _refusals(self, facts: Facts) -> list[Result]:
        results = judge(facts, applicable(checks.every_check(), facts))
        return [result for result in results if result.status in REFUSED[self._mode]]

    def _collect(self) -> None:
        self._facts = collect(Machine(self._need, environ=dict(self._environ)))

    def _fresh_facts(self) -> Facts | None:
        """What an earlier attempt saw a moment ago, unless it was refused for it: somebody may have mended that."""
        try:
            if not self._path.is_file() or time.time() - self._path.stat().st_mtime > FRESH:
                return None
            facts = load(self._path)
        except (OSError, FactsError):
            return None
        return None if self._refusals(facts) else facts


def _need(plan: Plan, node_rank: int) -> Need:
    training = plan.spec.training
    return Need(
        nodes=plan.nodes,
        node_rank=node_rank,
        rendezvous_host="localhost" if plan.spec.backend == "local" else None,
        procs_per_node=plan.procs_per_node,
        device=plan.device,
        numerics=training.numerics,
        run_dir=plan.run_dir,
        loader_workers=plan.spec.loader.workers,
        batch_size=training.batch_size,
        accumulate=training.accumulate,
    )
