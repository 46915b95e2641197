"""What one training step does: the usual way, or the task's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from launcher import elastic
from launcher.errors import JobFailed, RequestError
from launcher.task import Task
from launcher.worker import numerics, seeding
from launcher.worker.batches import to_device
from launcher.worker.context import Context
from launcher.worker.measures import is_measure
from launcher.worker.models import Models
from launcher.worker.optimization import Optimization

Step = Callable[[int, Iterator[Any]], Mapping[str, Tensor]]
"""`step(number, batches)`: takes the step's microbatches; returns this rank's scalars, detached, one of them `loss`."""


def make(task: Task, models: Models, optimizations: Mapping[str, Optimization], context: Context) -> Step:
    """Raises JobFailed where the task's parts do not belong together."""
    if (task.loss is None) == (task.step is None):
        raise JobFailed(
            f"the task has {'both' if task.loss else 'neither'} a loss and a step",
            hint="give `loss` for the usual loop, or `step` to write the optimization yourself",
        )
    return (
        LossStep(task, models, optimizations, context) if task.loss else OwnStep(task, models, optimizations, context)
    )


class LossStep:
    """Forward and backward for each microbatch, then one step of the optimizer."""

    def __init__(self, task: Task, models: Models, optimizations: Mapping[str, Optimization], context: Context) -> None:
        if len(optimizations) != 1:
            raise JobFailed(
                f"the task has a loss and {len(optimizations)} optimizers",
                hint="give it one optimizer, or a `step` that says which one to use when",
            )
        (self.optimization,) = optimizations.values()
        self.loss: Any = task.loss
        self.models = models
        self.feed = _feed(context)
        self.accumulate = context.plan.spec.training.accumulate
        self.autocast = numerics.autocast(context.plan)

    def __call__(self, number: int, batches: Iterator[Any]) -> Mapping[str, Tensor]:
        self.optimization.zero()
        self.models.share_buffers()
        if self.accumulate == 1:
            loss = self._backward(number, 0, batches)
        else:
            with self.models.without_sync():
                losses = [self._backward(number, microstep, batches) for microstep in range(self.accumulate - 1)]
            losses.append(self._backward(number, self.accumulate - 1, batches))
            loss = torch.stack(losses).sum()
        self.optimization.step()
        return {"loss": loss}

    def _backward(self, number: int, microstep: int, batches: Iterator[Any]) -> Tensor:
        batch = self.feed(number, microstep, batches)
        with self.autocast:
            loss = self.loss(self.models.to_train, batch)
        if number == 1:
            _check_scalar("loss(model, batch)", loss)
        if self.accumulate > 1:
            loss = loss / self.accumulate
        self.optimization.backward(loss)
        return loss.detach()  # type: ignore[no-any-return]


class OwnStep:
    """The task's own step, which calls `optimize(name, loss)` for each optimizer it wants to use."""

    def __init__(self, task: Task, models: Models, optimizations: Mapping[str, Optimization], context: Context) -> None:
        elastic.refuse_a_range(context.plan.spec, "a task with a step of its own cannot go on with fewer nodes")
        if context.plan.spec.training.accumulate > 1:
            raise RequestError(
                "training.accumulate: a task with a step of its own decides itself when to optimize",
                hint="begin a new run with --set training.accumulate=1",
            )
        self.step: Any = task.step
        self.models = models
        self.optimizations = optimizations
        self.feed = _feed(context)
        self.autocast = numerics.autocast(context.plan)
        self.several_ranks = context.world_size > 1
        self.optimized = False

    def __call__(self, number: int, batches: Iterator[Any]) -> Mapping[str, Tensor]:
        self.models.share_buffers()
        batch = self.feed(number, 0, batches)
        self.optimized = False
        with self.autocast:
            scalars = self.step(self.models.to_train, batch, self._optimize)
        if number == 1:
            _check_scalars(scalars)
        if self.several_ranks and not self.optimized:
            dist.barrier()  # no rank may run ahead: see stop.py
        return {name: value.detach() for name, value in scalars.items()}

    def _optimize(self, name: str, loss: Tensor) -> None:
        if name not in self.optimizations:
            raise JobFailed(
                f"step called optimize({name!r}, …); the task's optimizers are {', '.join(self.optimizations)}"
            )
        optimization = self.optimizations[name]
        with torch.autocast(loss.device.type, enabled=False):
            # Zeroed before and not after: another optimizer's backward pass may have come through these parameters.
            optimization.zero()
            optimization.backward(loss)
            optimization.step()
        torch.clear_autocast_cache()  # it holds the weights of before this step
        self.optimized = True


def _feed(context: Context) -> Callable[[int, int, Iterator[Any]], Any]:
    """Takes the next microbatch and sets every generator for it."""
    seed, rank, device = seeding.mix(context.seed, seeding.STEP), context.rank, context.device

    def feed(number: int, microstep: int, batches: Iterator[Any]) -> Any:
        batch = next(batches)
        if device.type != "cpu":
            batch = to_device(batch, device)
        seeding.seed_all(seeding.mix(number, microstep, rank, state=seed), device)
        return batch

    return feed


def _check_scalar(what: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.ndim != 0:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
        raise JobFailed(f"{what} gave {got}, not a scalar tensor", hint="return the mean over the batch")


def _check_scalars(scalars: object) -> None:
    if not isinstance(scalars, Mapping) or "loss" not in scalars:
        raise JobFailed(
            "step(models, batch, optimize) returned no `loss`",
            hint='return the scalars to log, for example {"loss": loss, "discriminator": other}',
        )
    for name, value in scalars.items():
        if is_measure(value):
            raise JobFailed(
                f"step returned {name}, a torchmetrics metric",
                hint=f"name it in Task(training_metrics={{{name!r}: …}})",
            )
        _check_scalar(f"step's {name}", value)
