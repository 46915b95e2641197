"""The job of the kill campaign: everything that can break an exact resume, and marks that say where it is.

Each line of the file named by KILLS_MARKS is `<seconds since 1970> <pid> <rank> <what>`.
"""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

from launcher import Task
from tests.runs.trial import Batch, Noisy, accuracy, task


def build(*, defect: str | None = None) -> Task:
    """`defect` breaks what the campaign is there to find broken."""
    model = network()
    stream = torch.Generator().manual_seed(1)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        mark("microbatch")
        pause()
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        return value * (1 + torch.rand((), generator=stream)) if defect == "stream" else value

    def metrics(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        mark("validation")
        pause()
        return accuracy(model, batch)

    return task(model, loss, data=Noisy(), metrics=metrics)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3))


def pause() -> None:
    """Slows a microbatch down, so that there is time to kill in."""
    time.sleep(0.01)


def mark(what: str) -> None:
    line = f"{time.time():.6f} {os.getpid()} {os.environ['RANK']} {what}\n"
    descriptor = os.open(os.environ["KILLS_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
