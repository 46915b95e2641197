"""An engine with an update function of its own: mixed samples, clipped gradients, a schedule, a metric."""

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from torch import nn

from tests.frameworks.examples.digits import loaders


def build():
    training, _ = loaders()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def update(engine, batch):
        images, labels = batch
        share = torch.rand(()) * 0.3
        other = torch.randperm(len(images))
        model.train()
        optimizer.zero_grad()
        output = model((1 - share) * images + share * images[other])
        first, second = nn.functional.cross_entropy(output, labels), nn.functional.cross_entropy(output, labels[other])
        loss = (1 - share) * first + share * second
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "share": float(share)}

    trainer = Engine(update)
    Average(output_transform=lambda output: output["share"]).attach(trainer, "mean_share")
    falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: falling.step())

    @trainer.on(Events.STARTED | Events.COMPLETED)
    def tell(engine):
        print(f"learning rate {optimizer.param_groups[0]['lr']:.4f}")

    return {
        "trainer": trainer,
        "data": training,
        "to_save": {"model": model, "optimizer": optimizer, "falling": falling, "trainer": trainer},
    }
