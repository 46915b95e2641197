"""Ignite's features work as they do alone, a resume is exact, and a wrong target says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.spec import Best, Checkpointing, EarlyStop, JobSpec
from tests.frameworks.bench import Bench, job, lines, plan_of


def of(target: str, **sections: Any) -> JobSpec:
    return job("ignite", f"targets_ignite.py:{target}", **sections)


def test_a_stop_where_a_validation_is_due_makes_it_up(bench: Bench, tmp_path: Path) -> None:
    spec = of("with_metrics", training={"epochs": 2, "validate_every": 4})
    whole = bench.run(spec, tmp_path / "whole")
    stopped = bench.train(plan_of(spec, tmp_path / "stopped"), DISTURB="4:SIGTERM")[0]
    assert (stopped["state"], stopped["step"]) == ("stopped", 4)
    again = bench.run(spec, tmp_path / "stopped", attempt=2)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


@pytest.mark.parametrize("world", [1, 2])
def test_an_engine_by_idists_auto_functions_trains_to_the_same_bits(bench: Bench, world: int, tmp_path: Path) -> None:
    digests = {
        bench.run(of(target, training={"epochs": 2}, world=world), tmp_path / target)["weights_sha256"]
        for target in ("auto", "with_metrics")
    }
    assert len(digests) == 1


def test_clipping_reaches_into_an_engine_of_its_own(bench: Bench, tmp_path: Path) -> None:
    digests = [
        bench.run(of("engine", training={"steps": 4, "clip_norm": norm}), tmp_path / str(norm))["weights_sha256"]
        for norm in (None, 1e-6)
    ]
    assert digests[0] != digests[1]


def test_ignites_own_early_stopping_ends_it(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.run(of("early", training={"epochs": 9}), tmp_path / "run")
    assert (outcome["step"], outcome["checkpoint"]) == (8, "step-00000008")


def test_the_jobs_own_best_and_early_stop_follow_the_evaluator(bench: Bench, tmp_path: Path) -> None:
    best = Checkpointing(every="epoch", best=Best(metric="accuracy", mode="max"))
    stop = EarlyStop(metric="accuracy", mode="min", patience=1)
    spec = of("with_metrics", training={"epochs": 9, "validate_every": 2}, checkpoint=best, early_stop=stop)
    outcome = bench.run(spec, tmp_path / "run")
    assert outcome["step"] < 45 and "attached" in outcome["log"]


def test_an_error_is_told_to_the_engines_handlers_and_then_to_launcher(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.train(plan_of(of("failing"), tmp_path / "run"))[0]
    assert "handled planted" in outcome["log"]
    assert (outcome["state"], outcome["error"]["message"]) == ("failed", "planted")


@pytest.mark.parametrize("setting", [{"accumulate": 2}, {"precision": "bf16"}])
def test_what_an_engine_of_its_own_decides_is_not_quietly_ignored(
    bench: Bench, setting: dict[str, Any], tmp_path: Path
) -> None:
    error = bench.fail(of("engine", training={"steps": 2, **setting}), tmp_path / "run")
    assert error["exit_code"] == 2 and f"training.{next(iter(setting))}" in error["message"]
