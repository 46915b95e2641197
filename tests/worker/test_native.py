"""The native task from its target to its outcome."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from launcher import checkpoints
from launcher.errors import JobFailed, RequestError
from launcher.levers import ParallelOptions
from launcher.spec import Best, Checkpointing, EarlyStop
from tests.worker import ranks


def run(target: str, run_dir: Path, **settings: Any) -> Any:
    return ranks.train(ranks.plan_of(ranks.job(target, **settings), run_dir))[0]


def lines(run_dir: Path) -> list[Any]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("no task", RequestError, "gave a dict"),
        ("no loss", JobFailed, "neither a loss and a step"),
        ("both", JobFailed, "both a loss and a step"),
        ("two optimizers", JobFailed, "a loss and 2 optimizers"),
        ("vector loss", JobFailed, "a tensor of shape (12,), not a scalar tensor"),
        ("no metrics", JobFailed, "validation samples and no metrics"),
        ("mean metric", JobFailed, "metric loss gave shape () for a batch of 12 samples"),
        ("few", RequestError, "1 samples, too few for 1 processes × 2 microbatches"),
        ("exception", KeyError, "missing"),
        ("unknown optimizer", JobFailed, "optimize('optimiser', …); the task's optimizers are optimizer"),
        ("step without loss", JobFailed, "returned no `loss`"),
        ("not deterministic", JobFailed, "no deterministic kernel, and training.numerics is exact (put_"),
        ("poisoned weights", JobFailed, "weights are not finite after step 1; no checkpoint"),
    ],
)
def test_a_fault_in_the_task_is_said_plainly(kind: str, error: type, message: str, tmp_path: Path) -> None:
    accumulate = 2 if kind == "few" else 1
    training = {"steps": 3, "accumulate": accumulate}
    found = run("faulty", tmp_path, args={"kind": kind}, training=training, checkpoint=Checkpointing(every=1))
    assert isinstance(found, error) and message in str(found)


def test_a_static_graph_has_the_bits_of_any_other(tmp_path: Path) -> None:
    ends = [
        run(
            "classifier",
            tmp_path / str(static),
            world=2,
            training={"steps": 4},
            parallel=ParallelOptions(static_graph=static),
        )
        for static in (False, True)
    ]
    assert ends[0].weights_sha256 and ends[0].weights_sha256 == ends[1].weights_sha256


def test_parameters_that_take_no_part_are_said_to(tmp_path: Path) -> None:
    found = run("faulty", tmp_path, world=2, args={"kind": "unused"}, training={"steps": 3})
    assert isinstance(found, JobFailed) and "took no part in a step" in str(found)
    assert "requires_grad_(False)" in (found.hint or "")


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (2, 1)])
def test_a_loss_that_is_not_finite_names_step_rank_and_samples(world: int, rank: int, tmp_path: Path) -> None:
    """Asked for at the first log line after it; every rank says the same, though all losses after it are bad too."""
    settings: dict[str, Any] = {"training": {"steps": 100, "log_every": 7}, "checkpoint": Checkpointing(every=1000)}
    spec = ranks.job("diverging", world=world, args={"rank": rank, "sample": 20}, **settings)
    endings = ranks.train(ranks.plan_of(spec, tmp_path))
    assert len({str(each) for each in endings}) == 1 and isinstance(endings[0], JobFailed)
    said = str(endings[0])
    assert f"on rank {rank}, samples " in said
    assert "20" in said.rpartition("samples ")[2].split(", ")
    assert checkpoints.names(checkpoints.folder(tmp_path)) == []


def test_a_checkpoint_is_not_made_of_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"training": {"steps": 8, "log_every": 100}, "checkpoint": Checkpointing(every=1)}
    assert "the loss was not finite at step" in str(run("diverging", tmp_path, **settings))
    kept = checkpoints.names(checkpoints.folder(tmp_path))
    assert all(int(name[-8:]) < 5 for name in kept)


def test_fp16_overflow_is_no_error(tmp_path: Path) -> None:
    """The scaler begins at 65536: the first steps overflow, and are skipped at half the scale each."""
    found = run("classifier", tmp_path, training={"steps": 6, "precision": "fp16"}, args={"gain": 99.0})
    assert found.step == 6 and found.weights_sha256
    saved = (checkpoints.folder(tmp_path) / found.checkpoint / "training.json").read_text()
    assert 1 <= float(re.findall(r'"scale": ([0-9.]+)', saved)[0]) < 65536


def test_the_outcome_tells_how_far_it_came_and_with_what(tmp_path: Path) -> None:
    found = run("classifier", tmp_path, training={"epochs": 2}, checkpoint=Checkpointing(every=4))
    assert (found.step, found.epoch, found.stopped, found.checkpoint) == (10, 2, False, "step-00000010")
    assert sorted(found.metrics) == ["accuracy", "loss", "lr"] and len(found.weights_sha256) == 64


def test_metrics_are_logged_with_the_rate_the_step_was_made_with(tmp_path: Path) -> None:
    run("classifier", tmp_path, training={"epochs": 2, "log_every": 4}, args={"schedule": "milestones"})
    logged = lines(tmp_path)
    assert [(line["step"], "validation" in line) for line in logged] == [
        (4, False), (5, True), (8, False), (10, False), (10, True),
    ]  # fmt: skip
    assert [round(line["lr"], 6) for line in logged if "lr" in line] == [0.001, 0.0001, 0.0001]


def test_one_seed_gives_one_model_and_another_seed_another(tmp_path: Path) -> None:
    digests = [
        run("classifier", tmp_path / str(number), training={"steps": 3, "seed": seed}).weights_sha256
        for number, seed in enumerate([5, 5, 6])
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_ranks_loss_and_validation_are_those_of_one_process(tmp_path: Path) -> None:
    """No dropout, no noise: sharing the samples out changes no more than the rounding."""
    plain = {"dropout": 0.0, "augment": False, "schedule": None, "normalize": False}
    for world in (1, 2):
        run("classifier", tmp_path / str(world), world=world, training={"steps": 5, "log_every": 1}, args=plain)
    for alone, shared in zip(lines(tmp_path / "1"), lines(tmp_path / "2"), strict=True):
        assert alone.get("validation", alone) == pytest.approx(shared.get("validation", shared), rel=1e-4)


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (3, 8)])
def test_training_ends_when_a_metric_gets_no_better(patience: int, last: int, tmp_path: Path) -> None:
    values = [0.1, 0.4, 0.3, 0.2, 0.5, 0.1, 0.1, 0.1]
    stop = EarlyStop(metric="quality", mode="max", patience=patience)
    found = run("recited", tmp_path, args={"values": values}, training={"epochs": 8}, early_stop=stop)
    assert (found.step, found.stopped, found.checkpoint) == (last, False, f"step-{last:08d}")


def test_the_best_checkpoint_outlives_the_pruning(tmp_path: Path) -> None:
    checkpoint = Checkpointing(every="epoch", keep=2, best=Best(metric="quality", mode="max"))
    values = [0.1, 0.5, 0.3, 0.2, 0.4]
    run("recited", tmp_path, args={"values": values}, training={"epochs": 5}, checkpoint=checkpoint)
    kept = checkpoints.names(checkpoints.folder(tmp_path))
    assert sorted(kept) == ["step-00000002", "step-00000004", "step-00000005"]


def test_a_metric_to_follow_must_exist(tmp_path: Path) -> None:
    stop = EarlyStop(metric="qualty", mode="max")
    found = run("recited", tmp_path, args={"values": [1.0]}, training={"epochs": 2}, early_stop=stop)
    assert isinstance(found, RequestError) and found.hint == "did you mean quality?"


def test_resuming_under_other_conditions_is_said(tmp_path: Path) -> None:
    first = ranks.plan_of(ranks.job("classifier", training={"steps": 4}), tmp_path)
    ranks.ended(ranks.train(first))
    changed = ranks.plan_of(ranks.job("classifier", training={"steps": 8, "batch_size": 8}), tmp_path)
    (tmp_path / "events").touch()
    ranks.ended(ranks.resume(changed, {"TEST_EVENTS": str(tmp_path / "events")}))
    said = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert {"event": "resumed", "step": 4, "name": "step-00000004"} in said
    assert any("batch_size was 12 and is 8" in line.get("text", "") for line in said)


def test_what_a_step_draws_belongs_to_the_step_and_the_rank(tmp_path: Path) -> None:
    drawn = {}
    for world in (1, 2):
        run("drawing", tmp_path / str(world), world=world, training={"steps": 6, "log_every": 1, "accumulate": 2})
        drawn[world] = [line["loss"] for line in lines(tmp_path / str(world))]
    assert len(set(drawn[1] + drawn[2])) == 12


def test_an_optimizers_step_is_seen_at_once_by_the_next_forward_pass(tmp_path: Path) -> None:
    """Autocast keeps copies of the weights in its own precision until it is told that they have changed."""
    run("moving", tmp_path, training={"steps": 2, "log_every": 1, "precision": "bf16"})
    assert all(line["moved"] > 0 for line in lines(tmp_path))
