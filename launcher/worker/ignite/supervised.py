"""An engine made of parts: the update of a supervised training, with the job's precision, accumulation and DDP."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, create_supervised_evaluator
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from launcher.errors import JobFailed
from launcher.worker import numerics, seeding
from launcher.worker.batches import alike, to_device
from launcher.worker.context import Context
from launcher.worker.ignite.given import Parts
from launcher.worker.models import Models
from launcher.worker.optimization import Optimization


def trainer(parts: Parts, models: Models, optimization: Optimization, scheduler: Any, context: Context) -> Engine:
    """One iteration is one microbatch; its output is the mean loss, detached."""
    accumulate = context.plan.spec.training.accumulate
    autocast = numerics.autocast(context.plan)

    def update(engine: Engine, batch: Any) -> Tensor:
        microstep = (engine.state.iteration - 1) % accumulate
        inputs, labels = to_device(batch, context.device)
        if microstep == 0:
            optimization.zero()
            models.share_buffers()
        last = microstep == accumulate - 1
        if last:
            loss = _backward(inputs, labels)
            optimization.step()
            if scheduler is not None:
                scheduler.step()
            return loss
        with models.without_sync():
            return _backward(inputs, labels)

    def _backward(inputs: Any, labels: Any) -> Tensor:
        with autocast:
            loss: Tensor = parts.loss(models.to_train(inputs), labels)
        if loss.ndim:
            raise JobFailed(
                f"loss(output, labels) gave shape {tuple(loss.shape)}", hint="return the mean over the batch"
            )
        if accumulate > 1:
            loss = loss / accumulate
        optimization.backward(loss)
        return loss.detach()

    return Engine(update)


class Evaluation:
    """Ignite's metrics over the validation samples, of which each rank takes its share."""

    def __init__(self, parts: Parts, models: Models, context: Context) -> None:
        self._models = models
        self._context = context
        self.engine = create_supervised_evaluator(
            models.to_validate, metrics=dict(parts.metrics), device=context.device
        )
        share = Subset(parts.validation, range(context.rank, len(parts.validation), context.world_size))
        self._alike = alike(len(parts.validation), context.plan)
        self._loader = DataLoader(share, batch_size=context.plan.microbatch)

    def run(self) -> None:
        context = self._context
        self._models.share_buffers()
        seeding.seed_all(seeding.mix(context.seed, seeding.VALIDATION, context.step, 0, context.rank), context.device)
        with self._models.evaluating(alike=self._alike):
            self.engine.run(self._loader)
