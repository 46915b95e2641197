from typing import Any

import lightning.pytorch as lightning
from torch import Tensor
from torch.utils.data import DataLoader

from tests.frameworks import parts


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = parts.network()

    def training_step(self, batch: Any, _batch_idx: int) -> Tensor:
        inputs, labels = batch
        return parts.loss(self.network(inputs), labels)

    def configure_optimizers(self) -> Any:
        optimizer = parts.optimizer(self.network)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": parts.schedule(optimizer), "interval": "step"},
        }

    def train_dataloader(self) -> Any:
        return DataLoader(parts.Augmented(), batch_size=12, shuffle=True)


def build() -> Any:
    return Module()
