"""A GAN with manual optimization: two optimizers take turns within a training step."""

import lightning as L
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from tests.frameworks.examples.digits import loaders


class Gan(L.LightningModule):
    def __init__(self, noise=16, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(noise, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid()
        )
        self.discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(64, 1))

    def training_step(self, batch, batch_idx):
        real, _ = batch
        of_generator, of_discriminator = self.optimizers()
        drawn = self.generator(torch.randn(len(real), self.hparams["noise"]).type_as(real))

        self.toggle_optimizer(of_generator)
        judged = self.discriminator(drawn)
        generator_loss = bce(judged, torch.ones_like(judged))
        of_generator.zero_grad()
        self.manual_backward(generator_loss)
        of_generator.step()
        self.untoggle_optimizer(of_generator)

        self.toggle_optimizer(of_discriminator)
        genuine, fake = self.discriminator(real), self.discriminator(drawn.detach())
        discriminator_loss = (bce(genuine, torch.ones_like(genuine)) + bce(fake, torch.zeros_like(fake))) / 2
        of_discriminator.zero_grad()
        self.manual_backward(discriminator_loss)
        of_discriminator.step()
        self.untoggle_optimizer(of_discriminator)

        self.log_dict({"g_loss": generator_loss, "d_loss": discriminator_loss}, prog_bar=True)
        return {"loss": discriminator_loss.detach()}

    def configure_optimizers(self):
        return [
            torch.optim.Adam(self.generator.parameters(), lr=self.hparams["lr"], betas=(0.5, 0.999)),
            torch.optim.Adam(self.discriminator.parameters(), lr=self.hparams["lr"], betas=(0.5, 0.999)),
        ]

    def train_dataloader(self):
        return loaders()[0]


def build():
    return Gan()
