"""Targets that exercise what a resume must not change."""

from __future__ import annotations

import os
import random
import signal
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

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.norm = nn.BatchNorm1d(hidden)
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
    """Send this process the signal of DISTURB="<rank or *>:<call>:<signal>" at that call of the loss."""
    global calls
    calls += 1
    rank, call, name = os.environ.get("DISTURB", "-:0:").split(":")
    if calls == int(call) and rank in ("*", _own_rank()):
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
) -> Task:
    data: Dataset[Any] = tensors(samples)
    model = Net(8, hidden, layers, dropout)
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
        loss=cross_entropy,
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
