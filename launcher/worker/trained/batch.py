"""A few real samples, put together as the task's own batches are."""

from __future__ import annotations

from typing import Any

import numpy as np

from launcher.worker import samples, seeding
from launcher.worker.context import Context

SAMPLES = 8
"""How many real samples a model is tried with."""


def first(data: Any, collate: Any, context: Context) -> Any:
    """The first samples of a data set as one batch. Raises JobFailed where it has no length."""
    count = min(SAMPLES, samples.count(data, "data"))
    return samples.fetcher(data, collate)(np.arange(count), (context.seed, seeding.VALIDATION_SAMPLE))
