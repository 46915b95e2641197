"""Engines as people write them."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import CosineAnnealingScheduler, EarlyStopping, TensorboardLogger
from ignite.metrics import Accuracy, Loss, Metric, RunningAverage
from torch.nn import functional as F
from torch.utils.data import DataLoader

from launcher import Task
from tests.frameworks import parts


def engine() -> dict[str, Any]:
    """Handlers with and without filters, a schedule of Ignite's own, and an evaluator that a handler runs."""
    model = parts.network()
    optimizer = parts.optimizer(model)
    trainer = create_supervised_trainer(model, optimizer, parts.loss)
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy(), "error": Loss(F.cross_entropy)})
    schedule = CosineAnnealingScheduler(optimizer, "lr", 0.01, 0.001, cycle_size=10)
    trainer.add_event_handler(Events.ITERATION_STARTED, schedule)
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "average")

    @trainer.on(Events.ITERATION_COMPLETED(every=4))
    def validate(_: Engine) -> None:
        evaluator.run(DataLoader(parts.Augmented(20), batch_size=10))

    return {
        "trainer": trainer,
        "data": DataLoader(parts.Augmented(), batch_size=12, shuffle=True),
        "to_save": {"model": model, "optimizer": optimizer, "schedule": schedule, "trainer": trainer},
        "evaluators": {"validation": evaluator},
    }


class Largest(Metric):
    """Does not name what it gathers, as most that people write: so Ignite saves nothing of it."""

    def reset(self) -> None:
        self.largest = 0.0

    def update(self, output: float) -> None:
        self.largest = max(self.largest, output)

    def compute(self) -> float:
        return self.largest


def gathering() -> dict[str, Any]:
    """Its learning rate follows what metrics on the trainer have gathered, over an epoch and over all steps."""
    model = idist.auto_model(parts.network())
    optimizer = parts.optimizer(model)

    def update(_engine: Engine, batch: Any) -> dict[str, Any]:
        optimizer.zero_grad()
        output = model(batch[0])
        loss = parts.loss(output, batch[1])
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), "of": (output.detach(), batch[1])}

    trainer = Engine(update)
    Loss(F.cross_entropy, output_transform=lambda output: output["of"]).attach(trainer, "mean")
    RunningAverage(output_transform=lambda output: output["loss"]).attach(trainer, "running")
    Largest(output_transform=lambda output: output["loss"]).attach(trainer, "largest")

    @trainer.on(Events.EPOCH_COMPLETED)
    def follow(engine: Engine) -> None:
        optimizer.param_groups[0]["lr"] = 0.01 * engine.state.metrics["mean"] * engine.state.metrics["running"]

    data = DataLoader(parts.Augmented(), batch_size=12, shuffle=True)
    return {"trainer": trainer, "data": data, "to_save": {"model": model, "optimizer": optimizer}}


def auto() -> dict[str, Any]:
    """Model, optimizer and data by `idist.auto_*`, as a program that Ignite's own launcher starts."""
    model = idist.auto_model(parts.network())
    optimizer = idist.auto_optim(parts.optimizer(model))
    trainer = create_supervised_trainer(model, optimizer, parts.loss, device=idist.device())
    data = idist.auto_dataloader(parts.Augmented(), batch_size=12, shuffle=True)
    return {"trainer": trainer, "data": data, "to_save": {"model": model, "optimizer": optimizer}}


def logged(folder: str) -> dict[str, Any]:
    given = engine()
    logger = TensorboardLogger(log_dir=folder)
    when = Events.ITERATION_COMPLETED(every=2)
    logger.attach_output_handler(given["trainer"], when, tag="training", output_transform=lambda loss: {"loss": loss})
    given["trainer"].add_event_handler(Events.COMPLETED, logger.close)
    return given


def early() -> dict[str, Any]:
    given = engine()
    stop = EarlyStopping(patience=1, score_function=lambda _: 0.0, trainer=given["trainer"])
    given["evaluators"]["validation"].add_event_handler(Events.COMPLETED, stop)
    given["to_save"]["stop"] = stop
    return given


def failing() -> dict[str, Any]:
    given = engine()

    @given["trainer"].on(Events.EXCEPTION_RAISED)
    def tell(error: BaseException) -> None:
        print("handled", error)
        raise error

    @given["trainer"].on(Events.ITERATION_COMPLETED(once=2))
    def fail() -> None:
        raise ValueError("planted")

    return given


def with_metrics() -> dict[str, Any]:
    model = parts.network()
    return {
        "model": model,
        "optimizer": parts.optimizer(model),
        "loss": parts.loss,
        "data": parts.Augmented(),
        "validation": parts.Augmented(20),
        "metrics": {"accuracy": Accuracy()},
        "attach": lambda trainer: trainer.add_event_handler(Events.COMPLETED, lambda: print("attached")),
    }


def already_run() -> dict[str, Any]:
    given = engine()
    given["trainer"].run([(torch.zeros(4, parts.WIDTH), torch.zeros(4, dtype=torch.long))])
    return given


def native() -> Any:
    model = parts.network()
    return Task(model=model, optimizer=parts.optimizer(model), data=parts.Augmented())


def only_engine() -> Any:
    return engine()["trainer"]


def without_data() -> dict[str, Any]:
    given = engine()
    del given["data"]
    return given


def misspelt() -> dict[str, Any]:
    return {**with_metrics(), "metric": {}}
