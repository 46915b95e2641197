"""Whatever a file call meets, the run resumes from a checkpoint it was told of, or from the one after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import calls
from tests.faults.calls import SCENARIOS, Bench

Make = Callable[..., Bench]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_failure_of_every_call_is_survived(bench: Make) -> None:
    results = list(calls.campaign(bench(), lambda trial: True))
    again = "python -m tests.faults.calls --only"
    assert [f"{wrong}; repeat with: {again} '{trial}'" for trial, wrong in results if wrong] == []
    assert len(results) > 1000
    assert {trial.scenario for trial, _ in results} == set(SCENARIOS)


@pytest.mark.parametrize(
    "defect", ["manifest_before_data", "delete_under_the_name", "prune_before_the_commit", "overwrite_in_three_steps"]
)
def test_the_campaign_finds_a_planted_defect(bench: Make, defect: str) -> None:
    kills = calls.campaign(bench(defect=defect), lambda trial: trial.kind == "kill")
    assert any(wrong for _, wrong in kills)


def test_the_shim_sees_every_step_of_the_protocol(bench: Make) -> None:
    seen = [call.name for call in bench().calls("overtaken")]
    assert {"create", "write", "fsync", "close", "mkdir", "rename", "exchange", "unlink", "rmdir"} <= set(seen)


def test_a_torn_write_is_half_of_the_bytes(bench: Make) -> None:
    made = bench()
    at = next(number for number, call in enumerate(made.calls("fresh"), 1) if call.path.endswith("/model"))
    end = made.run(calls.Trial("fresh", "torn", at + 1))
    (torn,) = made.run_dir.glob("checkpoints/.tmp-*/model")
    assert end["status"] == -9
    assert 0 < torn.stat().st_size < len(calls.state(1)["model"])
