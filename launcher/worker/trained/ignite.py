"""An Ignite task's models: the evaluator calls them with a batch, or they take a batch's first part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.errors import RequestError
from launcher.worker import epochs, target
from launcher.worker.context import Context
from launcher.worker.ignite.given import OwnEngine, Parts, understand
from launcher.worker.saved import Saved
from launcher.worker.trained import Built
from launcher.worker.trained.batch import first


def build(context: Context) -> Built:
    plan = context.plan
    given = understand(target.call(plan.spec.task, Path(plan.job_dir)), plan)
    if isinstance(given, Parts):
        saved = Saved({"model": given.model}, plan, given_to="the target")
        return Built(
            models=saved.models.by_name, weights=saved.models, use=lambda: given.model(_inputs(given, context))
        )
    saved = Saved(given.to_save, plan, given_to="to_save")
    if not saved.models.by_name:
        raise RequestError("to_save holds no model", hint="return {'to_save': {'model': model, …}, …}")
    return Built(models=saved.models.by_name, weights=saved.models, use=lambda: _evaluate(given, saved, context))


def _inputs(given: Parts | OwnEngine, context: Context) -> Any:
    source = epochs.read(given.data, context)
    batch = first(source.data, source.collate, context)
    return batch[0] if isinstance(batch, list | tuple) else batch


def _evaluate(given: OwnEngine, saved: Saved, context: Context) -> None:
    source = epochs.read(given.data, context)
    batch = first(source.data, source.collate, context)
    for evaluator in given.evaluators.values():
        evaluator.run([batch])
    for model in saved.models.by_name.values():
        model(_inputs(given, context))
