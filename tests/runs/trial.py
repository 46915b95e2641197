"""A small job with everything that can break an exact resume, and faults that can be planted in it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from launcher import Task

Batch = tuple[Tensor, Tensor]


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Samples with augmentation that draws from all three generators."""

    def __init__(self, stuck_on: int | None = None) -> None:
        """On the rank `stuck_on` a sample never comes."""
        self.stuck_on = stuck_on

    def __len__(self) -> int:
        return 90

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 17 and os.environ["RANK"] == str(self.stuck_on):
            time.sleep(3600)
        noise = torch.randn(8) + random.gauss(0, 1) + float(np.random.rand())
        return torch.full((8,), index / 90) + 0.1 * noise, torch.tensor(index % 3)


def build(*, seconds: float = 0.0, fault: str | None = None, at: int = 8, rank: int = 1, width: int = 16) -> Task:
    """`seconds` slows each microbatch down; `fault` happens on one rank in the microbatch number `at`."""
    if fault == "build":
        raise RuntimeError("planted in build")
    model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))
    calls = 0

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        time.sleep(seconds)
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if calls == at and fault in FAULTS and int(os.environ["RANK"]) == rank:
            value = value * FAULTS[fault]()
        return value

    return task(model, loss, data=Noisy(stuck_on=rank if fault == "loader" else None))


def accuracy(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return {"accuracy": (model(batch[0]).argmax(1) == batch[1]).float()}


def task(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    *,
    data: Noisy,
    metrics: Callable[[nn.Module, Batch], dict[str, Tensor]] = accuracy,
) -> Task:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return Task(
        model=model,
        optimizer=optimizer,
        data=data,
        loss=loss,
        validation=Noisy(),
        metrics=metrics,
        scheduler=lambda steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    )


def _raise() -> float:
    raise ValueError("planted on one rank")


def _exit() -> float:
    sys.exit(0)


def _kill() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


def _segfault() -> float:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 1.0


def _eat_memory() -> float:
    return float(np.ones(1 << 40, dtype=np.uint8).sum())


def _hog() -> float:
    """Touch memory until the kernel ends it."""
    taken = []
    while True:
        taken.append(np.ones(1 << 23))


FAULTS: dict[str, Callable[[], float]] = {
    "exception": _raise,
    "exit": _exit,
    "kill": _kill,
    "segfault": _segfault,
    "memory": _eat_memory,
    "hog": _hog,
    "nan": lambda: float("nan"),
}
