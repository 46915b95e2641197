from launcher import Task
from tests.frameworks import parts


def build() -> Task:
    model = parts.network()
    optimizer = parts.optimizer(model)
    return Task(
        model=model,
        optimizer=optimizer,
        data=parts.Augmented(),
        loss=lambda model, batch: parts.loss(model(batch[0]), batch[1]),
        scheduler=parts.schedule(optimizer),
    )
