"""The ways to save a training's state that tests/benchmarks/checkpoint.py compares."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from launcher import plan
from launcher.spec import Checkpointing, JobSpec, Overlap, TaskSpec, Training
from launcher.worker.checkpoint import Checkpoints

State = dict[str, dict[str, Tensor]]


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Saving:
    """A save that has returned to the training."""

    wait: Callable[[], object] = nothing
    """Until it is on the disk."""
    before_step: Callable[[], object] = nothing
    """What an optimizer's step has to wait for."""


class Launcher:
    name = "launcher"
    overlap: Overlap = "files"
    loads = True

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.checkpoints = folder, checkpoints_of(folder, self.overlap)
        self.optimizer = torch.optim.SGD([nn.Parameter(value) for value in state["model"].values()])
        for parameter, key in zip(self.optimizer.param_groups[0]["params"], state["model"], strict=True):
            moments = {name: value for name, value in state["optimizer"].items() if name.startswith(f"{key}.")}
            self.optimizer.state[parameter] = moments

    def save(self, step: int, state: State) -> Saving:
        model, moments = state["model"], state["optimizer"]
        self.checkpoints.save(step, epoch=0, model=model, training=moments, optimizers=[self.optimizer])
        return Saving(self.checkpoints.wait, self.optimizer.step)  # without gradients it waits, and does no more

    @classmethod
    def loader(cls, folder: Path, step: int, live: State) -> Callable[[], object]:
        """As a rank that only reads: weights into the live model, moments into memory of their own."""
        checkpoints = checkpoints_of(folder, cls.overlap, rank=1)
        return lambda: checkpoints.load_into(f"step-{step:08d}", live["model"])


def checkpoints_of(folder: Path, overlap: Overlap, rank: int = 0) -> Checkpoints:
    task, training = TaskSpec(target="a.py:build"), Training(steps=1)
    spec = JobSpec(name="bench", task=task, training=training, checkpoint=Checkpointing(overlap=overlap))
    machine = plan.Machine(cores=os.cpu_count() or 1)
    return Checkpoints(plan.make(spec, run_id="bench", run_dir=folder, job_dir=folder, machine=machine), rank)


class Overlapped(Launcher):
    name = "launcher, overlap: all"
    overlap = "all"
    loads = False


class TorchSave:
    name = "torch.save + fsync"
    loads = True

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.path = folder, folder / "state.pt"

    def save(self, step: int, state: State) -> Saving:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)
        return Saving()

    @classmethod
    def loader(cls, folder: Path, step: int, live: State) -> Callable[[], object]:
        return lambda: torch.load(folder / "state.pt", weights_only=True)


class Lightning:
    """What a Trainer's `save_checkpoint` ends in: without fsync."""

    name = "Lightning"
    loads = False

    def __init__(self, folder: Path, state: State) -> None:
        from pytorch_lightning.plugins import TorchCheckpointIO

        self.folder, self.io = folder, TorchCheckpointIO()

    def save(self, step: int, state: State) -> Saving:
        self.io.save_checkpoint(state, self.folder / "state.ckpt")
        return Saving()


class DcpAsync:
    name = "dcp.async_save"
    loads = True

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder

    def save(self, step: int, state: State) -> Saving:
        future: Any = dcp.async_save(state, checkpoint_id=self.folder / "state", no_dist=True)
        return Saving(future.result)

    @classmethod
    def loader(cls, folder: Path, step: int, live: State) -> Callable[[], object]:
        return lambda: dcp.load(live, checkpoint_id=folder / "state", no_dist=True)


class Memcpy:
    """The floor: one copy into memory that is there already, written nowhere."""

    name = "one memcpy"
    loads = False

    def __init__(self, folder: Path, state: State) -> None:
        self.copy = {part: {key: value.clone() for key, value in tensors.items()} for part, tensors in state.items()}

    def save(self, step: int, state: State) -> Saving:
        for part, tensors in state.items():
            for key, tensor in tensors.items():
                self.copy[part][key].copy_(tensor)
        return Saving()


METHODS: tuple[Any, ...] = (Memcpy, Launcher, Overlapped, TorchSave, Lightning, DcpAsync)
