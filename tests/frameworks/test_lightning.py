"""Lightning's features work as they do alone, a resume is exact, and what contradicts the job is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.manifest import read
from launcher.spec import Best, Checkpointing, EarlyStop, JobSpec
from tests.frameworks.bench import Bench, job, plan_of


def of(target: str, **sections: Any) -> JobSpec:
    return job("lightning", f"targets_lightning.py:{target}", **sections)


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_validation_callbacks_plateau_and_test_go_through_a_kill(bench: Bench, tmp_path: Path) -> None:
    spec = of("validated", training={"epochs": 3, "validate_every": 4})
    whole = bench.run(spec, tmp_path / "whole")
    killed = bench.train(plan_of(spec, tmp_path / "killed"), DISTURB="8:SIGKILL")[0]
    assert killed["state"] == "killed"
    again = bench.run(spec, tmp_path / "killed", attempt=2)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert all({"mean", "loss", "lr"} < line.keys() for line in lines(tmp_path / "whole") if "validation" not in line)
    assert "test_loss" in whole["log"] and "accuracy" in whole["metrics"]


def test_a_module_that_optimizes_itself_is_exact_on_two_ranks(bench: Bench, tmp_path: Path) -> None:
    spec = of("Pair", training={"steps": 8}, world=2)
    whole = bench.run(spec, tmp_path / "whole")
    bench.train(plan_of(spec, tmp_path / "killed"), DISTURB="7:SIGKILL")
    again = bench.run(spec, tmp_path / "killed", attempt=2)
    assert (again["weights_sha256"], again["step"]) == (whole["weights_sha256"], 8)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


def test_callbacks_of_lightnings_own_end_it_early_and_keep_files(bench: Bench, tmp_path: Path) -> None:
    spec = of("early", training={"epochs": 9}, args={"folder": str(tmp_path / "kept")})
    outcome = bench.run(spec, tmp_path / "run")
    assert outcome["epoch"] == 3
    kept = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert {"state_dict", "optimizer_states", "callbacks"} < kept.keys()
    assert not list((tmp_path / "kept").glob(".*"))


def test_the_jobs_own_best_and_early_stop_follow_what_the_module_logs(bench: Bench, tmp_path: Path) -> None:
    best = Checkpointing(every="epoch", best=Best(metric="never", mode="min"))
    spec = of(
        "early",
        training={"epochs": 9},
        args={"folder": str(tmp_path / "kept")},
        checkpoint=best,
        early_stop=EarlyStop(metric="never", patience=1),
    )
    assert bench.run(spec, tmp_path / "run")["epoch"] == 2
    assert read(tmp_path / "run" / "checkpoints" / "step-00000005").protected


@pytest.mark.parametrize("target", ["with_datamodule", "with_loader", "OldName", "with_an_object"])
def test_data_and_modules_may_come_from_anywhere(bench: Bench, target: str, tmp_path: Path) -> None:
    same = bench.run(job("lightning", "target_lightning.py:Module"), tmp_path / "same")
    assert bench.run(of(target), tmp_path / "run")["weights_sha256"] == same["weights_sha256"]


def test_a_loader_that_does_not_shuffle_keeps_its_order_and_drops_its_last(bench: Bench, tmp_path: Path) -> None:
    bench.run(of("Ordered", args={"file": str(tmp_path / "seen")}, training={"epochs": 2}), tmp_path / "run")
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert seen == [[*range(12)], [*range(12, 24)]] * 2


@pytest.mark.parametrize(
    ("trainer", "said", "remedy"),
    [
        ({"max_epochs": 3}, "trainer.max_epochs is 3 and training.epochs", "training.epochs"),
        ({"precision": "bf16-mixed"}, "training.precision makes it '32-true'", "training.precision"),
        ({"strategy": "fsdp"}, "trainer.strategy is 'fsdp'", "resources"),
        ({"limit_train_batches": 3}, "trainer.limit_train_batches", "training.steps"),
        ({"detect_anomally": True}, "did you mean detect_anomaly?", "arguments of Trainer"),
    ],
)
def test_a_trainer_argument_against_the_job_is_refused_naming_both(
    bench: Bench, trainer: dict[str, Any], said: str, remedy: str, tmp_path: Path
) -> None:
    error = bench.fail(of("validated", trainer=trainer), tmp_path / "run")
    assert error["exit_code"] == 2
    assert said in error["message"] and remedy in error["hint"]


def test_a_trainer_argument_beside_the_job_is_passed_on(bench: Bench, tmp_path: Path) -> None:
    spec = of("validated", trainer={"enable_model_summary": True, "devices": 1, "limit_val_batches": 1})
    assert "Trainable params" in bench.run(spec, tmp_path / "run")["log"]


@pytest.mark.parametrize(
    ("target", "kind", "said", "remedy"),
    [
        ("native", "request", "gave Task", "task.kind=native"),
        ("bare", "request", "gave Linear", "return module"),
        ("with_too_much", "user", "'trainer'", "callbacks"),
        ("WithoutStep", "user", "WithoutStep has no training_step", "training_step"),
        ("endless", "user", "IterableDataset", "__len__"),
    ],
)
def test_a_target_that_cannot_be_trained_says_what_it_is(
    bench: Bench, target: str, kind: str, said: str, remedy: str, tmp_path: Path
) -> None:
    error = bench.fail(of(target), tmp_path / "run")
    assert error["kind"] == kind
    assert said in error["message"] and remedy in error["hint"]
