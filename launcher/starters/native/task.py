"""What is trained: a small network that tells two half circles apart. The loop is launcher's."""

from collections.abc import Mapping
from typing import Any

import torch
from moons import moons
from torch import Tensor, nn
from torch.nn import functional as F

from launcher import Task


def build(width: int = 32, learning_rate: float = 1e-2) -> Task:
    model = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
    return Task(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=learning_rate),
        data=moons(2000, seed=1),
        loss=loss,
        validation=moons(500, seed=2),
        metrics=metrics,
    )


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    points, labels = batch
    return F.cross_entropy(model(points), labels)


def metrics(model: Any, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
    """One value a sample; the mean over all of them is reported."""
    points, labels = batch
    return {"accuracy": model(points).argmax(dim=1) == labels}
