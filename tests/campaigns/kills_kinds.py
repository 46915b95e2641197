"""The kill campaign's job for Lightning and Ignite: the same network and samples, with the same marks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.campaigns.kills_trainee import mark, network, pause
from tests.runs.trial import Noisy

VALIDATION = TensorDataset(torch.linspace(0, 1, 60).repeat(8, 1).T.contiguous(), torch.arange(60) % 3)


def loss(output: Tensor, labels: Tensor) -> Tensor:
    mark("microbatch")
    pause()
    return nn.functional.cross_entropy(output, labels)


def ignite() -> dict[str, Any]:
    from ignite.metrics import Accuracy

    class Marked(Accuracy):
        def update(self, output: Any) -> None:
            mark("validation")
            pause()
            super().update(output)

    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss": loss,
        "data": Noisy(),
        "validation": VALIDATION,
        "metrics": {"accuracy": Marked()},
        "scheduler": lambda steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    }


def lightning() -> Any:
    from lightning.pytorch import LightningModule

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, _batch_idx: int) -> Tensor:
            return loss(self.network(batch[0]), batch[1])

        def validation_step(self, batch: Any, _batch_idx: int) -> None:
            mark("validation")
            pause()
            right = (self.network(batch[0]).argmax(1) == batch[1]).float().mean()
            self.log("accuracy", right, batch_size=len(batch[1]), sync_dist=True)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.estimated_stepping_batches)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def train_dataloader(self) -> Any:
            return DataLoader(Noisy(), batch_size=5, shuffle=True)

        def val_dataloader(self) -> Any:
            return DataLoader(VALIDATION, batch_size=5)

    return Module()
