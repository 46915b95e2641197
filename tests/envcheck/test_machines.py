"""Facts of whole machines, kept as files: what envcheck says of each must not change unnoticed.

All are synthetic and say so in their `note`: written from public examples, not by the machines themselves.
Renew them, and the verdicts, with UPDATE_MACHINES=1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from envcheck.check import Result, Status, applicable, judge
from envcheck.checks import every_check
from envcheck.collect import SOURCES
from envcheck.facts import Facts, as_json, load
from tests.envcheck.bench import REPOSITORY, Bench
from tests.envcheck.machines import MACHINES

FOLDER = REPOSITORY / "tests" / "envcheck" / "data"


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_verdict_on_a_kept_machine_is_the_expected_one(name: str, tmp_path: Path) -> None:
    machine = MACHINES[name]
    if os.environ.get("UPDATE_MACHINES") == "1":
        (FOLDER / f"{name}.json").write_text(json.dumps(as_json(machine.facts(Bench(tmp_path))), indent=1) + "\n")
    faults = {
        result.id: result.status
        for result in results(load(FOLDER / f"{name}.json"))
        if result.status is not Status.PASS
    }
    assert faults == machine.verdict


def results(facts: Facts) -> list[Result]:
    return judge(facts, applicable(every_check(), facts))


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_kept_machine_has_every_section_of_the_static_tier(name: str) -> None:
    facts = load(FOLDER / f"{name}.json")
    assert {section for section, source in SOURCES.items() if source.tier == "static"} <= {
        *facts.sections,
        *facts.absent,
    }
