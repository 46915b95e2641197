"""A DCGAN in small: a generator and a discriminator of convolutions, trained by two optimizers in one update."""

import torch
from ignite.engine import Engine, Events
from ignite.metrics import RunningAverage
from torch import nn

from tests.frameworks.examples.digits import loaders

NOISE = 8


def generator():
    return nn.Sequential(
        nn.ConvTranspose2d(NOISE, 16, 4, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1, bias=False),
        nn.Sigmoid(),
    )


def discriminator():
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 4, bias=False),
        nn.Flatten(0),
    )


def build():
    training, _ = loaders()
    draws, judges = generator(), discriminator()
    of_draws = torch.optim.Adam(draws.parameters(), lr=2e-3, betas=(0.5, 0.999))
    of_judges = torch.optim.Adam(judges.parameters(), lr=2e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def update(engine, batch):
        real = batch[0].reshape(-1, 1, 8, 8)
        genuine, fake = torch.ones(len(real)), torch.zeros(len(real))
        drawn = draws(torch.randn(len(real), NOISE, 1, 1))

        judges.zero_grad()
        judged = bce(judges(real), genuine) + bce(judges(drawn.detach()), fake)
        judged.backward()
        of_judges.step()

        draws.zero_grad()
        fooled = bce(judges(drawn), genuine)
        fooled.backward()
        of_draws.step()
        return {"loss": judged.item(), "generator": fooled.item()}

    trainer = Engine(update)
    for name in ("loss", "generator"):
        RunningAverage(output_transform=lambda output, name=name: output[name]).attach(trainer, f"running_{name}")

    @trainer.on(Events.EPOCH_COMPLETED)
    def tell(engine):
        print({name: round(value, 3) for name, value in engine.state.metrics.items()})

    return {
        "trainer": trainer,
        "data": training,
        "to_save": {
            "generator": draws,
            "discriminator": judges,
            "of_generator": of_draws,
            "of_discriminator": of_judges,
            "trainer": trainer,
        },
    }
