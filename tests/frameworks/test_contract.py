"""What holds for every kind of task: killed or stopped at any step, it ends with the native loop's undisturbed bits."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest

from launcher import checkpoints
from launcher.spec import Checkpointing, JobSpec, Loader
from tests import long
from tests.frameworks.bench import Bench, job, plan_of

TARGETS = {
    "native": "target_native.py:build",
    "lightning": "target_lightning.py:build",
    "ignite": "target_ignite.py:build",
    "script": "target_script.py",
}

# 56 samples in batches of 12 make epochs of 5 steps, the last one shorter; so 3 and 6 are steps within an epoch.
CASES: dict[str, dict[str, Any]] = {
    "alone": {"training": {"epochs": 2, "clip_norm": 0.5}},
    "accumulated": {"training": {"steps": 8, "accumulate": 2, "precision": "bf16"}, "loader": Loader(workers=2)},
    "fp16": {"training": {"steps": 8, "precision": "fp16", "clip_norm": 0.5}},
    "two": {"training": {"epochs": 2}, "world": 2, "loader": Loader(workers=1)},
    "two-accumulated": {"training": {"steps": 8, "accumulate": 2, "precision": "bf16", "clip_norm": 0.5}, "world": 2},
}
SCRIPTS_DO_NOT_SCALE = {"fp16"}


def of_kind(kind: str, case: str) -> JobSpec:
    return job(kind, TARGETS[kind], checkpoint=Checkpointing(every=3), **CASES[case])


class Undisturbed:
    """The native loop's result of a case, made once."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder

    @functools.cache  # noqa: B019  (lives as long as the session)
    def __call__(self, case: str) -> tuple[str, bytes]:
        outcome = self.bench.run(of_kind("native", case), self.folder / case)
        return outcome["weights_sha256"], (self.folder / case / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="session")
def undisturbed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(bench, tmp_path_factory.mktemp("undisturbed"))


def result(outcome: dict[str, Any], run_dir: Path) -> tuple[str, bytes]:
    return outcome["weights_sha256"], (run_dir / "metrics.jsonl").read_bytes()


def kill(bench: Bench, spec: JobSpec, run_dir: Path) -> None:
    """Train until every rank kills itself in step 7: step 3 is saved, step 6 perhaps, both within an epoch."""
    outcomes = bench.train(plan_of(spec, run_dir), DISTURB=f"{7 * spec.training.accumulate}:SIGKILL")
    assert [each["state"] for each in outcomes] == ["killed"] * len(outcomes), outcomes[0]["log"]
    saved = checkpoints.names(checkpoints.folder(run_dir))
    assert saved and set(saved) <= {"step-00000003", "step-00000006"}


@pytest.mark.parametrize("case", long.but(["alone", "two"], CASES))
@pytest.mark.parametrize("kind", TARGETS)
def test_a_killed_run_goes_on_to_the_native_loops_bits(
    bench: Bench, undisturbed: Undisturbed, kind: str, case: str, tmp_path: Path
) -> None:
    if kind == "script" and case in SCRIPTS_DO_NOT_SCALE:
        pytest.skip("a script scales its loss itself")
    kill(bench, of_kind(kind, case), tmp_path / "run")
    outcome = bench.run(of_kind(kind, case), tmp_path / "run", attempt=2)
    assert result(outcome, tmp_path / "run") == undisturbed(case)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_stopped_run_goes_on_to_the_native_loops_bits(
    bench: Bench, undisturbed: Undisturbed, kind: str, tmp_path: Path
) -> None:
    spec = of_kind(kind, "two")
    stopped = bench.train(plan_of(spec, tmp_path / "run"), DISTURB="6:SIGTERM")
    assert [each["state"] for each in stopped] == ["stopped"] * 2, stopped[0]["log"]
    assert stopped[0]["checkpoint"] == f"step-{stopped[0]['step']:08d}"
    outcome = bench.run(spec, tmp_path / "run", attempt=2)
    assert result(outcome, tmp_path / "run") == undisturbed("two")


@pytest.mark.parametrize("kind", TARGETS)
def test_a_finished_training_goes_on_where_its_job_is_given_a_longer_one(
    bench: Bench, undisturbed: Undisturbed, kind: str, tmp_path: Path
) -> None:
    longer = of_kind(kind, "alone")
    bench.run(dataclasses.replace(longer, training=dataclasses.replace(longer.training, epochs=1)), tmp_path / "run")
    assert bench.run(longer, tmp_path / "run", attempt=2)["weights_sha256"] == undisturbed("alone")[0]


PAIRS = [(before, after) for before in TARGETS for after in TARGETS if before != after]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_checkpoint_of_one_kind_is_gone_on_from_by_another(
    bench: Bench, undisturbed: Undisturbed, before: str, after: str, tmp_path: Path
) -> None:
    kill(bench, of_kind(before, "alone"), tmp_path / "run")
    outcome = bench.run(of_kind(after, "alone"), tmp_path / "run", attempt=2)
    assert result(outcome, tmp_path / "run") == undisturbed("alone")
