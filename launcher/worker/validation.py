"""Measures the model on the validation samples, shared out among the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from launcher.errors import JobFailed
from launcher.heartbeat import BETWEEN
from launcher.task import Task
from launcher.worker import measures, numerics, samples, seeding
from launcher.worker.agreement import of_all_ranks, of_rank_0
from launcher.worker.batches import Stream, ValidationBatches, alike, to_device
from launcher.worker.context import Context
from launcher.worker.models import Models


class Validation:
    """Make it before any thread exists: its loader processes are forked here."""

    def __init__(self, task: Task, models: Models, context: Context) -> None:
        self.metrics: Any = task.metrics
        self.models = models
        self.context = context
        self.autocast = numerics.autocast(context.plan)
        if task.validation is None or samples.count(task.validation, "validation") == 0:
            raise JobFailed("the task's validation has no samples")
        self.batches = ValidationBatches(task.validation, context.plan, context.rank, task.collate)
        self.stream = Stream(self.batches, range(len(self.batches)), context.plan, pin_memory=False)

    def run(self, step: int) -> dict[str, float]:
        """The mean of each metric over all samples, and the value of each that is one of torchmetrics.

        Each rank takes every world-size-th sample; its values are added in 64 bits, and the ranks' sums, or what their
        torchmetrics have gathered, in the order of the ranks.
        """
        self.models.share_buffers()
        same_count = alike(self.batches.total, self.context.plan)
        with self.models.evaluating(alike=same_count), torch.no_grad():
            sums, found = self._through(step)
        taken = {name: measures.take(name, each) for name, each in found.items()}
        mine = ({name: float(total) for name, total in sums.items()}, len(self.batches.numbers), taken)
        reports = of_all_ranks(mine)
        total = sum(count for _, count, _ in reports)
        means = {name: sum(part.get(name, 0.0) for part, _, _ in reports) / total for name in reports[0][0]}
        return means | self._computed(found, [states for _, _, states in reports])

    def _computed(self, found: Mapping[str, Any], reports: list[Mapping[str, measures.State]]) -> dict[str, float]:
        """On rank 0, which has a sample of every validation, and told to all."""
        if not reports[0]:
            return {}
        values: dict[str, float] = {}
        if self.context.rank == 0:
            gathered = [part for part in reports if part]
            states = {name: [part[name] for part in gathered] for name in found}
            values = {name: measures.compute(name, each, states[name]) for name, each in found.items()}
        return of_rank_0(values)

    def _through(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """This rank's sums, and the torchmetrics that were updated."""
        sums: dict[str, Tensor] = {}
        found: dict[str, Any] = {}
        context = self.context
        for number, batch in enumerate(self.stream):
            moved = to_device(batch, context.device)
            seeding.seed_all(seeding.mix(context.seed, seeding.VALIDATION, step, number, context.rank), context.device)
            with self.autocast:
                values = self.metrics(self.models.to_validate, moved)
            _check(values, self.batches.samples(number))
            context.heart.beat(step, BETWEEN)
            for name, each in values.items():
                if measures.is_measure(each):
                    found[name] = each
                    continue
                total = each.sum(dtype=torch.float64)
                sums[name] = sums[name] + total if name in sums else total
        return sums, found


def make(task: Task, models: Models, context: Context) -> Validation | None:
    """None where the task does not validate."""
    if (task.validation is None) != (task.metrics is None):
        raise JobFailed(
            f"the task has {'metrics' if task.validation is None else 'validation samples'} and no "
            f"{'validation samples' if task.validation is None else 'metrics'}",
            hint="give `validation` and `metrics`, or neither",
        )
    return None if task.validation is None else Validation(task, models, context)


def _check(values: object, samples: int) -> None:
    if not isinstance(values, Mapping):
        raise JobFailed(
            f"metrics(model, batch) returned {type(values).__name__}",
            hint='return a value for each sample by name: {"accuracy": output.argmax(1) == label}',
        )
    for name, each in values.items():
        if measures.is_measure(each):
            continue
        if not isinstance(each, Tensor) or tuple(each.shape) != (samples,):
            got = f"shape {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
            raise JobFailed(
                f"metric {name} gave {got} for a batch of {samples} samples",
                hint="a metric gives one value a sample, shape [batch], or is a torchmetrics metric that was updated",
            )
