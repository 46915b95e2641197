"""One small training in each framework's own manner, that writes down which samples it saw: for the README's table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from ignite.engine import create_supervised_trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.frameworks import parts


class Numbered(Dataset[Any]):
    """Each sample with its number. POISON names one that is not a number."""

    def __init__(self) -> None:
        self.inputs = torch.randn(parts.SAMPLES, parts.WIDTH, generator=torch.Generator().manual_seed(1))
        self.labels = self.inputs.argmax(dim=1)
        if "POISON" in os.environ:
            self.inputs[int(os.environ["POISON"])] = torch.nan

    def __len__(self) -> int:
        return parts.SAMPLES

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, int]:
        return self.inputs[number], self.labels[number], number


def seen(numbers: Tensor) -> None:
    with Path(os.environ["SEEN"]).open("a") as file:
        file.write(json.dumps(numbers.tolist()) + "\n")


def loader() -> DataLoader[Any]:
    return DataLoader(Numbered(), batch_size=parts.BATCH, shuffle=True)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = parts.network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels, numbers = batch
        seen(numbers)
        return parts.loss(self.network(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return parts.optimizer(self.network)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader()


def engine(*, deterministic: bool = False) -> dict[str, Any]:
    def prepare(batch: Any, **_: Any) -> tuple[Tensor, Tensor]:
        inputs, labels, numbers = batch
        seen(numbers)
        return inputs, labels

    model = parts.network()
    optimizer = parts.optimizer(model)
    trainer = create_supervised_trainer(
        model, optimizer, parts.loss, prepare_batch=prepare, deterministic=deterministic
    )
    return {"trainer": trainer, "data": loader(), "to_save": {"model": model, "optimizer": optimizer}}
