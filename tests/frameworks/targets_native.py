"""Native tasks with torchmetrics: those that add up, and those that keep every sample."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MaxMetric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.regression import SpearmanCorrCoef

from launcher import Task
from tests.frameworks import parts, target_native


def measured(samples: int = 20, average: str | None = "micro") -> Task:
    accuracy, order = MulticlassAccuracy(parts.WIDTH, average=average), SpearmanCorrCoef()

    def metrics(model: Any, batch: Any) -> dict[str, Any]:
        inputs, labels = batch
        output: Tensor = model(inputs)
        accuracy.update(output, labels)
        order.update(output[:, 0], inputs[:, 0])
        right = (output.argmax(1) == labels).float()
        return {"right": right, "accuracy": accuracy, **({"order": order} if samples > 1 else {})}

    seen, spread = SumMetric(), SpearmanCorrCoef()

    def loss(model: Any, batch: Any) -> Tensor:
        output: Tensor = model(batch[0])
        seen.update(len(output))
        spread.update(output[:, 0].detach(), batch[0][:, 0])
        return parts.loss(output, batch[1])

    return dataclasses.replace(
        target_native.build(),
        loss=loss,
        validation=parts.Augmented(samples),
        metrics=metrics,
        training_metrics={"seen": seen, "spread": spread},
    )


def collected() -> Task:
    """A collection whose metrics share what they gather, and one that only one rank updates."""
    scores, last = MetricCollection([MulticlassF1Score(parts.WIDTH), MulticlassAccuracy(parts.WIDTH)]), MaxMetric()

    def loss(model: Any, batch: Any) -> Tensor:
        output: Tensor = model(batch[0])
        scores.update(output, batch[1])
        if os.environ["RANK"] == "1":
            last.update(output.detach().max())
        return parts.loss(output, batch[1])

    return dataclasses.replace(target_native.build(), loss=loss, training_metrics={"scores": scores, "last": last})


def with_a_model() -> Task:
    return dataclasses.replace(target_native.build(), training_metrics={"all": nn.Linear(1, 1)})


def pair() -> Task:
    """What `targets_lightning.Pair` is."""
    maker, judge = parts.network(), parts.network()

    def step(models: Any, batch: Any, optimize: Any) -> dict[str, Tensor]:
        inputs, labels = batch
        judged = parts.loss(models["judge"](inputs), labels) + models["judge"](models["maker"](inputs).detach()).mean()
        optimize("judge", judged)
        made = F.cross_entropy(models["judge"](models["maker"](inputs)), labels)
        optimize("maker", made)
        return {"loss": made, "judged": judged}

    optimizers = {"judge": parts.optimizer(judge), "maker": parts.optimizer(maker)}
    return Task(model={"maker": maker, "judge": judge}, optimizer=optimizers, data=parts.Augmented(), step=step)


def wide_pair() -> Task:
    """Another order of its optimizers, which are of other shapes."""
    task = pair()
    wider = {"maker": parts.optimizer(parts.network(20)), "judge": parts.optimizer(parts.network())}
    return dataclasses.replace(task, optimizer=wider)


def synced() -> Task:
    task = target_native.build()
    model = nn.SyncBatchNorm.convert_sync_batchnorm(task.model)
    return dataclasses.replace(task, model=model, optimizer=parts.optimizer(model), scheduler=None)
