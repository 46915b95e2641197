"""A generative adversarial network on handwritten digits: a training step of one's own, with two optimizers."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from launcher import Task


def build(noise: int = 16, width: int = 128, learning_rate: float = 5e-4) -> Task:
    generator = nn.Sequential(
        nn.Linear(noise, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 64)
    )
    discriminator = nn.Sequential(
        nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )  # fmt: skip
    images = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1

    def step(models, batch, optimize):
        (real,) = batch
        fake = torch.tanh(models["generator"](torch.randn(len(real), noise, device=real.device)))
        on_real, on_fake = models["discriminator"](real), models["discriminator"](fake.detach())
        discriminator_loss = judged(on_real, real=True) + judged(on_fake, real=False)
        optimize("discriminator", discriminator_loss)
        generator_loss = judged(models["discriminator"](fake), real=True)
        optimize("generator", generator_loss)
        return {"loss": generator_loss, "discriminator_loss": discriminator_loss}

    def metrics(models, batch):
        """How far a drawn digit is from the nearest real one, per pixel, and whether it fools the discriminator."""
        (real,) = batch
        drawn = torch.tanh(models["generator"](torch.randn(len(real), noise, device=real.device)))
        distance = torch.cdist(drawn, images.to(real.device)).amin(dim=1) / 8
        return {"distance": distance, "fooled": models["discriminator"](drawn).squeeze(1) > 0}

    return Task(
        model={"generator": generator, "discriminator": discriminator},
        optimizer={
            "generator": torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=(0.5, 0.999)),
            "discriminator": torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=(0.5, 0.999)),
        },
        data=TensorDataset(images),
        step=step,
        validation=TensorDataset(images[:256]),
        metrics=metrics,
    )


def judged(scores, *, real: bool):
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))
