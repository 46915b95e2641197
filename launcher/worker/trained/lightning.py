"""A LightningModule, called by its own validation or training step; where it has no forward, the network in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from launcher.errors import JobFailed
from launcher.worker import target
from launcher.worker.context import Context
from launcher.worker.lightning.checkpoint import Core
from launcher.worker.lightning.given import Given, understand
from launcher.worker.trained import Built


def build(context: Context) -> Built:
    spec = context.plan.spec.task
    given = understand(target.call(spec, Path(context.plan.job_dir)), spec)
    core = Core(given.model)
    model = given.model if given.has("forward") else core.by_name[""]
    step = given.model.validation_step if given.has("validation_step") else given.model.training_step

    def use() -> None:
        batch = _batch(given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it logs, and there is no Trainer to log to
            step(batch, 0)
        model(batch[0] if isinstance(batch, list | tuple) else batch)

    return Built(models={"": model}, weights=core, use=use)


def _batch(given: Given) -> Any:
    """The first batch of the validation, or of the training."""
    loader = given.val_dataloaders or given.train_dataloaders
    owner = given.datamodule if given.datamodule is not None else given.model
    if loader is None:
        if given.datamodule is not None:
            given.datamodule.prepare_data()
            given.datamodule.setup("fit")
        loader = owner.val_dataloader() if given.has("validation_step") else owner.train_dataloader()
    if isinstance(loader, list | tuple):
        loader = loader[0]
    try:
        return next(iter(loader))
    except (TypeError, StopIteration):
        raise JobFailed(f"{type(owner).__name__} gives no batch to try the model with") from None
