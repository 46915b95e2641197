"""What of a save goes on beside the training, as `checkpoint.overlap` says."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from launcher import checkpoints, plan
from launcher.errors import JobFailed
from launcher.spec import Checkpointing, JobSpec, Overlap, TaskSpec, Training
from launcher.worker import overlap
from launcher.worker.checkpoint import Checkpoints

PATIENCE = 60.0


class Trained:
    """A network with a batch norm, after one step, and the checkpoints of its run."""

    def __init__(self, folder: Path, kind: Overlap) -> None:
        task, training = TaskSpec(target="a.py:build"), Training(steps=1)
        spec = JobSpec(name="job", task=task, training=training, checkpoint=Checkpointing(overlap=kind))
        machine = plan.Machine(cores=1)
        decided = plan.make(spec, run_id="job-1", run_dir=folder, job_dir=folder, machine=machine)
        self.checkpoints = Checkpoints(decided, rank=0)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.optimizer: Optimizer = torch.optim.AdamW(self.network.parameters())
        self.backward()
        self.optimizer.step()

    def backward(self) -> None:
        self.network(torch.randn(5, 3)).square().sum().backward()

    def save(self) -> None:
        training = {"optimizer": self.optimizer.state_dict()}
        model = self.network.state_dict()
        self.checkpoints.save(1, epoch=0, model=model, training=training, optimizers=[self.optimizer])


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set no copy is made that was left for later."""
    event, copy = threading.Event(), overlap.copy

    def when_set(left: overlap.Left) -> None:
        assert event.wait(PATIENCE)
        copy(left)

    monkeypatch.setattr(overlap, "copy", when_set)
    return event


def test_an_optimizers_step_waits_until_what_it_changes_is_copied(tmp_path: Path, held: threading.Event) -> None:
    trained = Trained(tmp_path, "all")
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    moment = trained.optimizer.state[trained.network[0].weight]["exp_avg"]
    moment_before = moment.clone()
    trained.optimizer.register_step_pre_hook(lambda *_: held.set())
    trained.save()
    trained.backward()
    trained.optimizer.step()
    trained.checkpoints.wait()
    loaded = trained.checkpoints.load("step-00000001")
    assert all(torch.equal(loaded.model[name], value) for name, value in before.items())
    assert torch.equal(loaded.training["optimizer"]["state"][0]["exp_avg"], moment_before)
    assert not torch.equal(moment, moment_before)


def test_a_checkpoint_of_what_something_else_changed_meanwhile_is_not_made(
    tmp_path: Path, held: threading.Event
) -> None:
    trained = Trained(tmp_path, "all")
    trained.save()
    with torch.no_grad():
        trained.network[0].bias.zero_()
    held.set()
    with pytest.raises(JobFailed, match=r"a tensor of shape \(4,\) was changed while a checkpoint copied it") as caught:
        trained.checkpoints.wait()
    assert "checkpoint.overlap=files" in (caught.value.hint or "")
    assert checkpoints.names(tmp_path / "checkpoints") == []


def test_nothing_is_left_for_later_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[overlap.Left] = []
    monkeypatch.setattr(overlap, "copy", left.append)
    trained = Trained(tmp_path, "files")
    trained.save()
    trained.checkpoints.wait()
    assert left == []


def test_a_save_that_is_waited_for_stands_when_the_training_goes_on(tmp_path: Path) -> None:
    trained = Trained(tmp_path, "none")
    trained.save()
    assert checkpoints.names(tmp_path / "checkpoints") == ["step-00000001"]


class OnDevice(Tensor):
    """A tensor that says it is a GPU's."""

    is_cuda = True


class Device:
    """Stands in for a GPU's stream and its event: a wait for it is only queued, and the host goes on."""

    def __init__(self) -> None:
        self.copied = threading.Event()
        self.queued: list[object] = []

    def wait_stream(self, other: object) -> None: ...

    def record_event(self) -> Device:
        return self

    def wait_event(self, event: object) -> None:
        self.queued.append(event)

    def synchronize(self) -> None:
        assert self.copied.wait(PATIENCE)


class SavedOnDevice:
    """A weight on a GPU, copied by saves whose end the test decides."""

    def __init__(self, device: Device) -> None:
        self.device, self.overlap = device, overlap.Overlap()
        self.weight = nn.Parameter(torch.ones(4).as_subclass(OnDevice))
        self.weight.grad = torch.ones(4)
        self.optimizer = torch.optim.SGD([self.weight], lr=1.0)
        self.into = torch.zeros(4)

    def start(self) -> None:
        self.device.copied.clear()
        self.overlap.begin([self.optimizer])
        assert self.overlap.leave(self.into, self.weight)
        self.overlap.start()

    def finish(self) -> None:
        self.device.copied.set()
        self.overlap.finish()


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> SavedOnDevice:
    device = Device()
    monkeypatch.setattr(torch.cuda, "Stream", lambda: device)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: device)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    return SavedOnDevice(device)


def test_a_step_that_a_gpu_makes_after_its_copies_may_be_queued_before_they_are_done(saved: SavedOnDevice) -> None:
    saved.start()
    saved.optimizer.step()
    saved.optimizer.step()
    assert saved.device.queued[0] is saved.device
    saved.finish()
    assert saved.into.tolist() == [1.0] * 4


@pytest.mark.parametrize("steps", [0, 1])
def test_what_something_else_changed_on_a_gpu_is_found_with_a_step_after_it_and_without(
    saved: SavedOnDevice, steps: int
) -> None:
    saved.start()
    saved.optimizer.step()
    saved.finish()
    saved.start()
    with torch.no_grad():
        saved.weight.zero_()
    for _ in range(steps):
        saved.optimizer.step()
    with pytest.raises(JobFailed, match=r"shape \(4,\) was changed while a checkpoint copied it"):
        saved.finish()
