"""An autoencoder of two networks: what Lightning's introduction begins with."""

import lightning as L
import torch
from torch import nn

from tests.frameworks.examples.digits import loaders


class Autoencoder(L.LightningModule):
    def __init__(self, latent=3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 64))

    def forward(self, images):
        return self.decoder(self.encoder(images))

    def training_step(self, batch, batch_idx):
        images, _ = batch
        loss = nn.functional.mse_loss(self(images), images)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)

    def train_dataloader(self):
        return loaders()[0]


def build():
    return Autoencoder()
