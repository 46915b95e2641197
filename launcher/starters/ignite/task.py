"""What is trained: a small network that tells two half circles apart. The loop is Ignite's engine."""

from typing import Any

import torch
from ignite.metrics import Accuracy
from moons import moons
from torch import nn
from torch.nn import functional as F


def build(width: int = 32, learning_rate: float = 1e-2) -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=learning_rate),
        "loss": F.cross_entropy,
        "data": moons(2000, seed=1),
        "validation": moons(500, seed=2),
        "metrics": {"accuracy": Accuracy()},
    }
