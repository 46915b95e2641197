"""What becomes of the runs that a bench makes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from launcher import bench, launch, store
from launcher.errors import EnvironmentUnfit, Interrupted, JobFailed
from launcher.measuring import Request
from launcher.plan import Plan
from launcher.timing import Report
from tests.cli.conftest import RECORD
from tests.test_ablations import plan
from tests.test_timing import answer


def measured(folder: Path, decided: Plan) -> Any:
    variant = bench.Variant(bench.AS_IT_IS, (), Request(warmup=3, steps=2))
    return bench.measured(Path("a.yaml"), decided, variant, folder, lambda _: None, take=bench.answers)


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the next run end in a state."""

    def end(state: Any) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        record = dataclasses.replace(RECORD, state=state, run_dir=str(folder))
        monkeypatch.setattr(launch, "run", lambda *_, **__: record)
        return folder

    return end


def test_one_that_is_stopped_keeps_nothing_and_says_so(ends: Any, tmp_path: Path) -> None:
    folder = ends("STOPPED")
    with pytest.raises(Interrupted, match="nothing of it is kept"):
        measured(tmp_path, plan())
    assert not folder.exists()


def test_one_that_fails_is_kept(ends: Any, tmp_path: Path) -> None:
    folder = ends("FAILED")
    with pytest.raises(bench.Ended):
        measured(tmp_path, plan())
    assert folder.exists()


def test_one_that_left_too_little_is_kept(ends: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ends("SUCCEEDED")
    monkeypatch.setattr(store.RunFolder, "read_plan", lambda _: plan())
    with pytest.raises(JobFailed, match="rank 0 left no figures"):
        measured(tmp_path, plan())
    assert folder.exists()


def ablated(folder: Path) -> Report:
    job = folder / "job.yaml"
    job.write_text(
        "name: job\ntask: {target: 'a.py:build'}\nmodel: {compile: max-autotune}\n"
        "training: {steps: 1, batch_size: 4, numerics: fast}\n"
    )
    (folder / "a.py").write_text("def build():\n    pass\n")
    request, quiet = Request(warmup=3, steps=2), {"say": lambda _: None, "listener": lambda _: None}
    return bench.bench(job, (), request, rounds=2, ablate=True, runs_dir=folder / "runs", command="", **quiet)


def test_a_lever_that_does_not_fit_or_fails_costs_its_own_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = bench.Ended(dataclasses.replace(RECORD, root_cause={"message": "no room"}))
    planted = {"training.precision=bf16": ended, "loader.workers=2": JobFailed("no step"),
               "optimizer.fused=true": EnvironmentUnfit("no such kernel")}  # fmt: skip
    ran = []

    def once(_: Path, __: Plan, variant: bench.Variant, *___: Any, **____: Any) -> Any:
        ran.append(variant.name)
        if variant.name in planted:
            raise planted[variant.name]
        return [answer(1.0, 1.0)]

    monkeypatch.setattr(bench, "measured", once)
    levers = {f"{lever.key}={lever.value}": lever for lever in ablated(tmp_path).levers}
    assert [levers[name].failed for name in planted] == ["no room", "no step", "no such kernel"]
    assert "max-autotune" in levers["training.numerics=exact"].failed and "training.numerics=exact" not in ran
    assert levers["model.compile=default"].ratio == 1.0 and ran.count("loader.workers=2") == 1


def test_the_load_of_a_machine_is_held_against_all_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "measured", lambda *_, **__: [answer(1.0, 1.0)])
    monkeypatch.setattr(os, "getloadavg", lambda: (32.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert ablated(tmp_path).load == 0.5


def test_the_job_as_it_is_may_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise JobFailed("no step")

    monkeypatch.setattr(bench, "measured", fails)
    with pytest.raises(JobFailed):
        ablated(tmp_path)


def test_a_measured_run_saves_after_what_is_measured_and_mirrors_nothing() -> None:
    settings = bench._whole(plan(), bench.Variant(bench.AS_IT_IS, (), Request(warmup=3, steps=2)))
    assert {"training.steps=7", "checkpoint.every=6", "trackers={}", "retry.max=0"} <= set(settings)
