"""What holds for both frameworks: their features work as alone and through a kill; a wrong target says what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import EnvironmentUnfit
from launcher.spec import Checkpointing, JobSpec
from launcher.worker import tasks
from tests import long
from tests.frameworks.bench import Bench, job, lines, plan_of, warnings

VALIDATED = {"training": {"epochs": 2, "clip_norm": 0.5, "validate_every": 4}}
GATHERING = {"lightning": "Gathering", "ignite": "gathering"}
"""Their learning rate follows all that they gather over an epoch: so their weights tell of it."""
KILLED: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "validation, callbacks, plateau and test": (
        "lightning",
        "validated",
        {"training": {"epochs": 3, "validate_every": 4}},
        8,
    ),
    "two optimizers on two ranks": ("lightning", "Pair", {"training": {"steps": 8}, "world": 2}, 7),
    "a loader beside the module": ("lightning", "with_loader", {"training": {"steps": 8}}, 7),
    "new buffers on two ranks": ("lightning", "Moved", {"training": {"epochs": 2, "validate_every": 2}, "world": 2}, 7),
    "handlers, filters and an evaluator": ("ignite", "engine", VALIDATED, 7),
    "parts": ("ignite", "with_metrics", VALIDATED, 7),
    "parts on two ranks": ("ignite", "with_metrics", {**VALIDATED, "world": 2}, 7),
    "idist on two ranks": ("ignite", "auto", {"training": {"epochs": 2}, "world": 2}, 7),
    **{
        f"what {kind} gathers over an epoch, on {world}": (
            *(kind, GATHERING[kind]),
            *({"training": {"epochs": 2}, "world": world, "checkpoint": Checkpointing(overlap="none")}, 7),
        )
        for kind in GATHERING
        for world in (1, 2)
    },
}


def target_of(kind: str, name: str) -> str:
    return name if ".py:" in name else f"targets_{kind}.py:{name}"


@pytest.mark.parametrize("case", long.but([case for case in KILLED if "gathers" in case], KILLED))
def test_a_kill_in_mid_epoch_changes_neither_weights_nor_metrics(bench: Bench, case: str, tmp_path: Path) -> None:
    kind, target, sections, call = KILLED[case]
    spec = job(kind, target_of(kind, target), **sections)
    whole = bench.run(spec, tmp_path / "whole")
    killed = bench.train(plan_of(spec, tmp_path / "killed"), DISTURB=f"{call}:SIGKILL")
    assert {each["state"] for each in killed} == {"killed"}
    again = bench.run(spec, tmp_path / "killed", attempt=2)
    assert (again["weights_sha256"], again["step"]) == (whole["weights_sha256"], whole["step"])
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    if every := sections["training"].get("validate_every"):
        validated = [line["step"] for line in lines(tmp_path / "whole") if "validation" in line]
        assert validated[:2] == [every, 2 * every]


TOLD = {"lightning": ["extremes, recent", "train_loss, worst"], "ignite": ["largest", "mean, running"]}


@pytest.mark.parametrize("kind", TOLD)
def test_metrics_that_a_resume_cannot_go_on_with_are_told(bench: Bench, kind: str, tmp_path: Path) -> None:
    of_world = [job(kind, target_of(kind, GATHERING[kind]), training={"epochs": 2}, world=world) for world in (2, 1)]
    bench.train(plan_of(of_world[0], tmp_path / "run"), KILL_AT="7")
    bench.run(of_world[1], tmp_path / "run", attempt=2)
    told = [text for text in warnings(tmp_path / "run") if text.startswith("metrics that begin anew in mid-epoch")]
    assert [text.rpartition(": ")[2] for text in told] == TOLD[kind]


PAIRS = {"native": "targets_native.py:pair", "lightning": "targets_lightning.py:Pair"}


@pytest.mark.parametrize(("before", "after"), [("native", "lightning"), ("lightning", "native")])
def test_optimizers_without_names_go_on_in_their_order(bench: Bench, before: str, after: str, tmp_path: Path) -> None:
    of_kind = {kind: job(kind, target, training={"steps": 8}) for kind, target in PAIRS.items()}
    whole = bench.run(of_kind[after], tmp_path / "whole")
    bench.train(plan_of(of_kind[before], tmp_path / "killed"), KILL_AT="7")
    again = bench.run(of_kind[after], tmp_path / "killed", attempt=2)
    assert again["weights_sha256"] == whole["weights_sha256"]


def test_optimizers_in_another_order_are_found_by_their_shapes(bench: Bench, tmp_path: Path) -> None:
    bench.train(plan_of(job("lightning", PAIRS["lightning"]), tmp_path / "run"), KILL_AT="7")
    error = bench.fail(job("native", "targets_native.py:wide_pair"), tmp_path / "run")
    assert "optimizer 'maker' is of other parameters: a parameter of shape (16, 8), here (20, 8)" in error["message"]


SYNCED = [
    job("lightning", "target_lightning.py:build", world=2, trainer={"sync_batchnorm": True}),
    job("native", "targets_native.py:synced", world=2),
]


@pytest.mark.parametrize("spec", SYNCED, ids=["lightning", "native"])
def test_batch_statistics_that_the_cpu_cannot_synchronize_are_explained(
    bench: Bench, spec: JobSpec, tmp_path: Path
) -> None:
    error = bench.fail(spec, tmp_path / "run")
    assert "on GPUs only" in error["message"] and "resources.device: cuda" in error["hint"]


@pytest.mark.parametrize(("kind", "written"), [("lightning", "**/metrics.csv"), ("ignite", "events.out.tfevents.*")])
def test_a_logger_of_the_frameworks_own_keeps_working(bench: Bench, kind: str, written: str, tmp_path: Path) -> None:
    spec = job(kind, target_of(kind, "logged"), args={"folder": str(tmp_path / "own")}, training={"steps": 4})
    bench.run(spec, tmp_path / "run")
    (log,) = (tmp_path / "own").glob(written)
    assert b"loss" in log.read_bytes()
    assert [line["step"] for line in lines(tmp_path / "run") if "loss" in line] == [2, 4]


WRONG = [
    ("native", "target_lightning.py:build", "request", "gave Module", "task.kind=lightning"),
    ("native", "targets_ignite.py:only_engine", "request", "gave Engine", "task.kind=ignite"),
    ("native", "targets_lightning.py:with_datamodule", "request", "tuple of WithoutData, Data", "task.kind=lightning"),
    ("native", "targets_ignite.py:engine", "request", "a dict with trainer, data, to_save", "task.kind=ignite"),
    ("lightning", "native", "request", "gave Task", "task.kind=native"),
    ("lightning", "bare", "request", "gave Linear", "return module"),
    ("lightning", "with_too_much", "user", "'trainer'", "callbacks"),
    ("lightning", "WithoutStep", "user", "WithoutStep has no training_step", "training_step"),
    ("lightning", "endless", "user", "IterableDataset", "__len__"),
    ("ignite", "native", "request", "gave Task", "task.kind=native"),
    ("ignite", "only_engine", "request", "gave Engine", "'trainer': engine"),
    ("ignite", "already_run", "user", "was already run, to iteration 1", "launcher calls run"),
    ("ignite", "without_data", "user", "without 'data'", "to_save"),
    ("ignite", "misspelt", "user", "'metric', which is not known", "metrics"),
]


@pytest.mark.parametrize(("kind", "target", "family", "said", "remedy"), WRONG)
def test_a_target_that_cannot_be_trained_says_what_it_is(
    bench: Bench, kind: str, target: str, family: str, said: str, remedy: str, tmp_path: Path
) -> None:
    (outcome,) = bench.train(plan_of(job(kind, target_of(kind, target)), tmp_path / "run"))
    error = outcome["error"]
    assert error["kind"] == family
    assert said in error["message"] and remedy in error["hint"]
    assert "Traceback" not in outcome["log"]


def test_a_compromised_release_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"lightning": "2.6.3"}.__getitem__)
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(EnvironmentUnfit, match=r"lightning 2\.6\.3 is installed here, .* malicious"):
        tasks.load("lightning")


@pytest.mark.parametrize(
    ("kind", "target", "what"),
    [
        ("native", "pair", "a task with a step of its own"),
        ("lightning", "Pair", "a module that optimizes itself"),
        ("ignite", "engine", "an engine of its own"),
    ],
)
def test_what_cannot_accumulate_is_refused_a_range_of_nodes(
    bench: Bench, kind: str, target: str, what: str, tmp_path: Path
) -> None:
    spec = job(kind, target_of(kind, target))
    ranged = dataclasses.replace(spec, resources=dataclasses.replace(spec.resources, nodes="1..2"))
    error = bench.train(dataclasses.replace(plan_of(ranged, tmp_path / "run"), nodes=1))[0]["error"]
    assert error["message"] == f"resources.nodes: {what} cannot go on with fewer nodes"
    assert (error["hint"], error["exit_code"]) == ("--nodes 2", 2)
