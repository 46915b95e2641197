"""Lightning's features work as they do alone, a resume is exact, and what contradicts the job is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.manifest import read
from launcher.spec import Best, Checkpointing, EarlyStop, JobSpec
from tests.frameworks.bench import Bench, job, lines, warnings


def of(target: str, **sections: Any) -> JobSpec:
    return job("lightning", f"targets_lightning.py:{target}", **sections)


def test_what_module_callback_and_test_log_is_kept(bench: Bench, tmp_path: Path) -> None:
    run = bench.run(of("validated", training={"epochs": 1, "validate_every": 4}), tmp_path / "run")
    assert all({"mean", "loss", "lr"} < line.keys() for line in lines(tmp_path / "run") if "validation" not in line)
    assert "test_loss" in run["log"] and "accuracy" in run["metrics"]


def test_sync_batchnorm_is_passed_on(bench: Bench, tmp_path: Path) -> None:
    same = bench.run(of("synced", world=2), tmp_path / "same")
    run = bench.run(of("synced", world=2, trainer={"sync_batchnorm": True}), tmp_path / "run")
    assert "normalized by BatchNorm1d" in same["log"] and "normalized by SyncBatchNorm" in run["log"]
    assert run["weights_sha256"] == same["weights_sha256"]


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


def test_what_the_job_decides_instead_of_the_loader_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.run(of("with_datamodule", training={"steps": 1, "batch_size": 14}), tmp_path / "run")
    assert warnings(tmp_path / "run") == [
        "the training loader's batch_size 12 is not used: training.batch_size is 14",
        "the training loader's num_workers 1 is not used: loader.workers is 0",
    ]


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
