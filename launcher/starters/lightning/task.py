"""What is trained: a small network that tells two half circles apart. The loop is Lightning's."""

import lightning.pytorch as lightning
import torch
from moons import moons
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


class Classifier(lightning.LightningModule):
    def __init__(self, width: int = 32, learning_rate: float = 1e-2) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.network = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, points: Tensor) -> Tensor:
        return self.network(points)

    def training_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> Tensor:
        points, labels = batch
        return F.cross_entropy(self(points), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> None:
        points, labels = batch
        accuracy = (self(points).argmax(dim=1) == labels).float().mean()
        self.log("accuracy", accuracy, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(moons(2000, seed=1), batch_size=64, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(moons(500, seed=2), batch_size=64)
