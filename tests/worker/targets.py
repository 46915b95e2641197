"""Targets that exercise what a resume must not change."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset, TensorDataset

from launcher import Task


def tensors(samples: int = 56, width: int = 8) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(samples, width, generator=generator)
    return TensorDataset(inputs, inputs.argmax(1))


class Augmented(Dataset[Any]):
    """Draws from all three generators for each sample."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, label = self.data[index]
        noise = random.gauss(0, 0.1) + np.random.normal() * 0.1
        return inputs + noise + 0.1 * torch.randn(inputs.shape), label


class Net(nn.Module):
    """Batch statistics, dropout, and enough parameters for several buckets where asked."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float, normalize: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.norm = nn.BatchNorm1d(hidden) if normalize else nn.Identity()
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, width)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.norm(self.first(inputs)).relu()
        for layer in self.middle:
            hidden = self.dropout(layer(hidden).relu())
        return self.last(hidden)


calls = 0


def disturb() -> None:
    """Send this process the signal of DISTURB="<rank or *>:<call>:<signal>" at that call of the loss.

    One that kills waits until a checkpoint has been committed, which happens in the background.
    """
    global calls
    calls += 1
    rank, call, name = os.environ.get("DISTURB", "-:0:").split(":")
    if calls != int(call) or rank not in ("*", _own_rank()):
        return
    deadline = time.monotonic() + 60
    while name == "SIGKILL" and not list(Path(os.environ["RUN_DIR"]).glob("checkpoints/step-*")):
        if time.monotonic() > deadline:
            raise TimeoutError("no checkpoint was committed")
        time.sleep(0.005)
    os.kill(os.getpid(), signal.Signals[name])


def _own_rank() -> str:
    return str(torch.distributed.get_rank()) if torch.distributed.is_initialized() else "0"


def cross_entropy(model: nn.Module, batch: list[Tensor]) -> Tensor:
    disturb()
    inputs, labels = batch
    return F.cross_entropy(model(inputs), labels)


def accuracy(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    inputs, labels = batch
    output = model(inputs)
    return {"accuracy": output.argmax(1) == labels, "loss": F.cross_entropy(output, labels, reduction="none")}


def classifier(
    hidden: int = 16,
    layers: int = 1,
    dropout: float = 0.2,
    augment: bool = True,
    schedule: str | None = "cosine",
    rate: float = 0.01,
    samples: int = 56,
    normalize: bool = True,
    gain: float = 1.0,
) -> Task:
    data: Dataset[Any] = tensors(samples)
    model = Net(8, hidden, layers, dropout, normalize)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedules: dict[str | None, Any] = {
        None: None,
        "cosine": lambda steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        "milestones": torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5]),
    }
    return Task(
        model=model,
        optimizer=optimizer,
        data=Augmented(tensors(samples)) if augment else Subset(data, range(samples)),
        loss=lambda model, batch: gain * cross_entropy(model, batch),
        validation=tensors(13),
        metrics=accuracy,
        scheduler=schedules[schedule],
    )


def pair() -> Task:
    """Two models with an optimizer each, the first one's loss through both."""
    maker, judge = Net(8, 16, 1, 0.1), Net(8, 16, 1, 0.1)

    def step(models: Any, batch: list[Tensor], optimize: Any) -> dict[str, Tensor]:
        disturb()
        inputs, labels = batch
        fake = models["maker"](inputs).detach()
        judged = F.cross_entropy(models["judge"](inputs), labels) + models["judge"](fake).mean()
        optimize("judge", judged)
        made = F.cross_entropy(models["judge"](models["maker"](inputs)), labels)
        optimize("maker", made)
        return {"loss": made, "judge": judged}

    return Task(
        model={"maker": maker, "judge": judge},
        optimizer={
            "maker": torch.optim.Adam(maker.parameters(), lr=0.01),
            "judge": torch.optim.SGD(judge.parameters(), lr=0.01, momentum=0.9),
        },
        data=Augmented(tensors()),
        step=step,
    )


def faulty(kind: str) -> Any:
    """A task with one fault."""
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    right: dict[str, Any] = {"model": model, "optimizer": optimizer, "data": tensors(), "loss": plain_loss}
    validating = {**right, "validation": tensors(13), "metrics": accuracy}
    tasks: dict[str, Any] = {
        "no task": {"model": model},
        "no loss": lambda: Task(**{**right, "loss": None}),
        "both": lambda: Task(**right, step=lambda models, batch, optimize: {}),
        "two optimizers": lambda: Task(**{**right, "optimizer": {"a": optimizer, "b": optimizer}}),
        "vector loss": lambda: Task(**{**right, "loss": lambda model, batch: model(batch[0]).sum(1)}),
        "no metrics": lambda: Task(**right, validation=tensors()),
        "mean metric": lambda: Task(**{**validating, "metrics": lambda model, batch: {"loss": batch[0].mean()}}),
        "few": lambda: Task(**{**right, "data": tensors(1)}),
        "exception": lambda: Task(**{**right, "loss": lambda model, batch: {}["missing"]}),
        "unknown optimizer": lambda: Task(
            **{**right, "loss": None, "step": lambda models, batch, optimize: optimize("optimiser", torch.ones(()))}
        ),
        "step without loss": lambda: Task(**{**right, "loss": None, "step": lambda models, batch, optimize: {}}),
        "unused": lambda: Task(**{**right, "model": FirstOnly(model)}),
        "not deterministic": lambda: Task(**{**right, "loss": lambda model, batch: scattered(model(batch[0]))}),
        "poisoned weights": lambda: Task(**{**right, "loss": poisoned_loss}),
    }
    found = tasks[kind]
    return found() if callable(found) else found


def plain_loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


class FirstOnly(nn.Module):
    """Has a layer that it does not use."""

    def __init__(self, used: nn.Module) -> None:
        super().__init__()
        self.used, self.unused = used, nn.Linear(1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.used(inputs)


def scattered(output: Tensor) -> Tensor:
    return torch.zeros(8).put_(torch.tensor([0, 0]), output[0, :2]).sum()


def poisoned_loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Finite, with a gradient that is not."""
    return model(batch[0]).mul(0).sum().sqrt()


def diverging(sample: int = 20, rank: int = 0) -> Task:
    """The loss is infinite on one rank when it sees one sample."""
    model = nn.Linear(1, 1)

    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        bad = bool((batch[0] == sample).any()) and _own_rank() == str(rank)
        return model(batch[0]).mean() + (torch.inf if bad else 0)

    data = TensorDataset(torch.arange(48.0).unsqueeze(1))
    return Task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-6), data=data, loss=loss)


def recited(values: list[float]) -> Task:
    """A validation metric that takes these values one after the other."""
    model = nn.Linear(1, 1)
    coming = iter(values)
    state = {"value": 0.0, "seen": 0}

    def metrics(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
        if state["seen"] % 12 == 0:
            state["value"] = next(coming)
        state["seen"] += len(batch[0])
        return {"quality": torch.full((len(batch[0]),), state["value"])}

    data = TensorDataset(torch.arange(12.0).unsqueeze(1))
    return Task(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        data=data,
        loss=lambda model, batch: model(batch[0]).pow(2).mean(),
        validation=data,
        metrics=metrics,
    )


def drawing() -> Task:
    """The loss is a random number, the same way in all three generators."""
    model = nn.Linear(1, 1)

    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        drawn = float(torch.rand(())) + random.random() + np.random.random()  # noqa: S311
        return model(batch[0]).sum() * 0 + drawn

    data = TensorDataset(torch.zeros(48, 1))
    return Task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), data=data, loss=loss)


def moving() -> Task:
    """How far an optimizer's step moves the output within one step of the task."""
    model = nn.Linear(8, 8)

    def step(models: Any, batch: list[Tensor], optimize: Any) -> dict[str, Tensor]:
        before = models(batch[0])
        loss = before.square().mean()
        optimize("optimizer", loss)
        return {"loss": loss, "moved": (models(batch[0]) - before).abs().float().sum()}

    return Task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0), data=tensors(), step=step)
