"""The network of mlp.py as a LightningModule; Lightning's own Trainer trains it, to the same weights."""

import lightning.pytorch as lightning
import torch
from tasks.mlp import digits, network
from torch.nn import functional as F
from torch.utils.data import DataLoader


class Mlp(lightning.LightningModule):
    def __init__(self, width: int = 128, dropout: float = 0.2, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = network(width, dropout)

    def training_step(self, batch, _batch_idx):
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch, _batch_idx):
        images, labels = batch
        output = self.network(images)
        accuracy = (output.argmax(dim=1) == labels).float().mean()
        self.log_dict(
            {"accuracy": accuracy, "validation_loss": F.cross_entropy(output, labels)},
            batch_size=len(labels),
            sync_dist=True,
        )

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self):
        return DataLoader(digits()[0], batch_size=64, shuffle=True)

    def val_dataloader(self):
        return DataLoader(digits()[1], batch_size=64)
