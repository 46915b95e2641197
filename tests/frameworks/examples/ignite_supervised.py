"""A supervised trainer with an evaluator, metrics and handlers: Ignite's quick start."""

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EarlyStopping
from ignite.metrics import Accuracy, Loss, RunningAverage
from torch import nn

from tests.frameworks.examples.digits import loaders


def build():
    training, validation = loaders()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, loss)
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy(), "nll": Loss(loss)})
    RunningAverage(output_transform=lambda value: value).attach(trainer, "running_loss")

    @trainer.on(Events.ITERATION_COMPLETED(every=3))
    def tell(engine):
        print(f"epoch {engine.state.epoch}: {engine.state.metrics['running_loss']:.3f}")

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.run(validation)

    stop = EarlyStopping(patience=5, score_function=lambda engine: engine.state.metrics["accuracy"], trainer=trainer)
    evaluator.add_event_handler(Events.COMPLETED, stop)
    return {
        "trainer": trainer,
        "data": training,
        "to_save": {"model": model, "optimizer": optimizer, "stop": stop, "trainer": trainer},
        "evaluators": {"validation": evaluator},
    }
