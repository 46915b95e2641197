"""Saving and loading the state of a training."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from launcher import checkpoints, plan
from launcher.errors import JobFailed, RequestError
from launcher.manifest import Damaged
from launcher.plan import Plan
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.worker.checkpoint import Checkpoints

Make = Callable[..., Checkpoints]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def checkpoints_of(*, rank: int = 0, attempt: int = 1, events: Any = None) -> Checkpoints:
        return Checkpoints(plan_of(tmp_path, attempt), rank, events=events)

    return checkpoints_of


def plan_of(run_dir: Path, attempt: int = 1) -> Plan:
    spec = JobSpec(name="job", task=TaskSpec(target="a.py:build"), training=Training(steps=1))
    machine = plan.Machine(cores=1)
    return plan.make(spec, run_id="job-1", run_dir=run_dir, job_dir=run_dir, machine=machine, attempt=attempt)


def model_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.LazyLinear(5))


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def trained(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = model_of()
    model(torch.zeros(2, 1, 4, 4))
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        model(torch.randn(2, 1, 4, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_weights_and_optimizer_come_back_to_the_bit(make: Make) -> None:
    model, optimizer = trained(3)
    saved = make()
    saved.save(3, epoch=1, model=model.state_dict(), training={"optimizer": optimizer.state_dict()})
    saved.wait()
    loaded = make().load("step-00000003")
    assert (loaded.step, loaded.epoch) == (3, 1)
    assert same(loaded.model, model.state_dict())
    state = loaded.training["optimizer"]["state"]
    assert all(same(state[key], value) for key, value in optimizer.state_dict()["state"].items())
    assert loaded.training["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]


def test_a_resumed_optimizer_takes_the_same_next_step(make: Make) -> None:
    (model, optimizer), (other, fresh) = trained(3), trained(0)
    saved = make()
    saved.save(3, epoch=0, model=model.state_dict(), training=optimizer.state_dict())
    saved.wait()
    fresh.load_state_dict(saved.load_into("step-00000003", other.state_dict()).training)
    batch = torch.randn(2, 1, 4, 4)
    for network, steps in ((model, optimizer), (other, fresh)):
        steps.zero_grad()
        network(batch).square().sum().backward()
        steps.step()
    assert same(model.state_dict(), other.state_dict())


def test_what_is_saved_is_the_state_at_the_call(make: Make) -> None:
    weight = torch.ones(1000)
    saved = make()
    saved.save(1, epoch=0, model={"weight": weight}, training=None)
    weight.zero_()
    saved.wait()
    assert saved.load("step-00000001").model["weight"].sum() == 1000


def test_loading_into_live_tensors_gives_them_the_weights(make: Make) -> None:
    saved, live = make(), {"weight": torch.zeros(2, 2, requires_grad=True)}
    saved.save(1, epoch=0, model={"weight": torch.ones(2, 2)}, training=None)
    saved.wait()
    loaded = saved.load_into("step-00000001", live)
    assert live["weight"].sum() == 4
    assert loaded.model["weight"] is live["weight"]


def test_loaded_tensors_are_the_callers_own(make: Make, tmp_path: Path) -> None:
    saved = make()
    saved.save(1, epoch=0, model={"weight": torch.ones(2)}, training=[torch.ones(2)])
    saved.wait()
    loaded = saved.load("step-00000001")
    loaded.model["weight"].zero_(), loaded.training[0].zero_()
    assert saved.load("step-00000001").model["weight"].sum() == 2


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"other": torch.zeros(1)}, "other is in one of the two only"),
        ({"weight": torch.zeros(3)}, r"weight has shape \(1,\), the model's \(3,\)"),
    ],
)
def test_weights_of_another_model_are_refused(make: Make, live: dict[str, Tensor], said: str) -> None:
    saved = make()
    saved.save(1, epoch=0, model={"weight": torch.ones(1)}, training=None)
    saved.wait()
    with pytest.raises(RequestError, match=said) as refusal:
        saved.load_into("step-00000001", live)
    assert "task.args" in str(refusal.value.hint)


def test_other_tools_read_the_weights(make: Make, tmp_path: Path) -> None:
    model = trained(1)[0].state_dict()
    saved = make()
    saved.save(1, epoch=0, model=model, training=None)
    saved.wait()
    assert same(safetensors.torch.load_file(tmp_path / "checkpoints/step-00000001/model.safetensors"), model)


def test_tied_weights_are_stored_once_and_tied_again(make: Make, tmp_path: Path) -> None:
    weight = torch.randn(1000)
    saved = make()
    saved.save(1, epoch=0, model={"head": weight, "embedding": weight}, training=None)
    saved.wait()
    model = saved.load("step-00000001").model
    assert model["head"] is model["embedding"]
    assert torch.equal(model["head"], weight)
    assert (tmp_path / "checkpoints/step-00000001/model.safetensors").stat().st_size < 5000


@pytest.mark.parametrize("file", ["model.safetensors", "training.safetensors", "training.json", "manifest.json"])
def test_nothing_of_a_damaged_checkpoint_is_used(make: Make, tmp_path: Path, file: str) -> None:
    saved, live = make(), {"weight": torch.zeros(2)}
    saved.save(1, epoch=0, model={"weight": torch.ones(2)}, training={"a": torch.ones(2)})
    saved.wait()
    path = tmp_path / "checkpoints/step-00000001" / file
    path.write_bytes(path.read_bytes()[:-1] + b"\xaa")
    with pytest.raises(Damaged, match=file):
        saved.load_into("step-00000001", live)
    assert live["weight"].sum() == 0


def test_a_planted_pickle_is_never_executed(make: Make, tmp_path: Path) -> None:
    saved = make()
    saved.save(1, epoch=0, model={}, training=None)
    saved.wait()
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "canary").encode()
    for path in (tmp_path / "checkpoints/step-00000001").iterdir():
        kept = path.read_bytes()
        path.write_bytes(bomb)
        with pytest.raises(Damaged):
            saved.load("step-00000001")
        path.write_bytes(kept)
    assert not (tmp_path / "canary").exists()


def test_the_event_comes_when_the_checkpoint_stands(make: Make, tmp_path: Path) -> None:
    seen: list[tuple[str, Mapping[str, Any]]] = []
    standing: list[str] = []

    def on_event(event: str, fields: Mapping[str, Any]) -> None:
        seen.append((event, fields))
        standing.extend(checkpoints.names(tmp_path / "checkpoints"))

    saved = make(events=on_event)
    saved.save(4, epoch=0, model={}, training=None)
    saved.wait()
    assert seen == [("checkpoint", {"step": 4, "name": "step-00000004"})]
    assert standing == ["step-00000004"]
    assert saved.newest == "step-00000004"


def test_only_rank_0_writes_and_every_rank_reads(make: Make, tmp_path: Path) -> None:
    first, second = make(rank=0), make(rank=1)
    for rank in (second, first):
        rank.save(1, epoch=0, model={"rank": torch.ones(1)}, training=None)
        rank.wait()
    assert second.load("step-00000001").model["rank"] == 1


def test_old_checkpoints_are_pruned_and_the_best_one_is_not(make: Make, tmp_path: Path) -> None:
    saved = make()
    for step in range(1, 6):
        saved.save(step, epoch=0, model={}, training=None, protect=step == 2)
    saved.wait()
    assert checkpoints.names(tmp_path / "checkpoints") == ["step-00000005", "step-00000004", "step-00000002"]


def test_buffers_are_reused_and_follow_a_changed_state(make: Make) -> None:
    saved = make()
    for step, state in enumerate([{}, {"a": torch.ones(3)}, {"a": torch.zeros(3)}, {"b": torch.ones(2, 2)}], 1):
        saved.save(step, epoch=0, model={"weight": torch.full((4,), step)}, training=state)
        saved.wait()
        loaded = saved.load(f"step-{step:08d}")
        assert same(loaded.training, state)
        assert loaded.model["weight"].tolist() == [step] * 4


def fail_with(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "no space left in .*: a checkpoint needs"), (errno.EIO, "could not be saved")]
)
def test_a_failed_save_is_raised_by_the_next_one(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    saved = make()
    with monkeypatch.context() as patched:
        fail_with(patched, number)
        saved.save(1, epoch=0, model={}, training=None)
        with pytest.raises(JobFailed, match=said):
            saved.save(2, epoch=0, model={}, training=None)
    saved.save(3, epoch=0, model={}, training=None)
    saved.wait()
    assert saved.newest == "step-00000003"


def test_a_damaged_older_one_is_said_in_an_event(make: Make, tmp_path: Path) -> None:
    saved = make()
    for step in (1, 2):
        saved.save(step, epoch=0, model={}, training=None)
    saved.wait()
    (tmp_path / "checkpoints/step-00000002/training.json").write_bytes(b"nul1")
    seen: list[tuple[str, Mapping[str, Any]]] = []
    again = make(attempt=2, events=lambda event, fields: seen.append((event, fields)))
    again.save(3, epoch=0, model={}, training=None)
    again.wait()
    assert [event for event, _ in seen] == ["warning", "checkpoint"]
    assert "step-00000002 is damaged: training.json" in seen[0][1]["text"]


def test_pythons_own_generator_state_comes_back(make: Make) -> None:
    saved, state = make(), random.Random(3).getstate()  # noqa: S311
    saved.save(1, epoch=0, model={}, training={"python": state})
    saved.wait()
    assert saved.load("step-00000001").training == {"python": state}
