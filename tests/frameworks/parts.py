"""What the same training is made of in every kind: a network with batch statistics and dropout, data that draw."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

SAMPLES, WIDTH = 56, 8
BATCH, STEPS_PER_EPOCH = 12, 5


class Augmented(Dataset[Any]):
    """Draws from all three generators for each sample."""

    def __init__(self, samples: int = SAMPLES) -> None:
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(samples, WIDTH, generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = random.gauss(0, 0.1) + np.random.normal() * 0.1
        inputs = self.inputs[index]
        return inputs + noise + 0.1 * torch.randn(inputs.shape), inputs.argmax()


def network(hidden: int = 16) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTH, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, WIDTH)
    )


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 7])


def newest(folder: Path | str) -> tuple[int, Path] | None:
    """The newest checkpoint that a framework alone wrote there, with its step: `epoch=1-step=6.ckpt`, `_6.pt`."""
    found = [(int(re.findall(r"\d+", path.stem)[-1]), path) for path in Path(folder).glob("*.*t")]
    return max(found, default=None)


calls = 0


def loss(output: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy; at call number DISTURB="<call>:<signal>" the process sends itself that signal."""
    global calls
    calls += 1
    call, name = os.environ.get("DISTURB", "0:").split(":")
    if calls == int(call):
        os.kill(os.getpid(), signal.Signals[name])
    return F.cross_entropy(output, labels)
