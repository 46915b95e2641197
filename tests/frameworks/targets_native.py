"""A native task with torchmetrics: one that adds up, one that keeps every sample."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy
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

    return dataclasses.replace(target_native.build(), validation=parts.Augmented(samples), metrics=metrics)
