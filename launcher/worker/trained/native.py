"""A native task's models: its metrics call them with a batch, or else its loss or its step does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from launcher.task import Task
from launcher.worker import target
from launcher.worker.context import Context
from launcher.worker.models import Weights
from launcher.worker.trained import Built
from launcher.worker.trained.batch import first


def build(context: Context) -> Built:
    spec = context.plan.spec.task
    task = target.call(spec, Path(context.plan.job_dir))
    if not isinstance(task, Task):
        raise target.mistaken(spec, task)
    models = task.model if isinstance(task.model, Mapping) else {"": task.model}

    def use() -> None:
        given: nn.Module | Mapping[str, nn.Module] = task.model
        batch = first(task.data if task.validation is None else task.validation, task.collate, context)
        if task.metrics is not None:
            task.metrics(given, batch)
        if task.loss is not None:
            task.loss(given, batch)
        if task.step is not None:
            task.step(given, first(task.data, task.collate, context), lambda name, loss: None)

    return Built(models=models, weights=Weights(models), use=use)
