"""An MLflow run: at MLFLOW_TRACKING_URI, else in `mlflow.db` (sqlite) beside the runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from launcher.trackers import Run

MOST_AT_ONCE = 100
"""Parameters or tags in one request, by MLflow's own limit."""
LONGEST = 5000
"""Characters of a value."""
STATES = {"SUCCEEDED": "FINISHED", "STOPPED": "KILLED", "FAILED": "FAILED"}

Each = TypeVar("Each")


class MlflowRun:
    def __init__(self, run: Run) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder.path.parent / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        self._pending: list[Metric] = []
        if "id" not in run.kept:
            run.kept["id"] = self._create(run)
        self._id: str = run.kept["id"]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._pending += [Metric(name, value, now, step) for name, value in values.items()]

    def event(self, event: Mapping[str, Any]) -> None:
        pass

    def flush(self) -> None:
        for part in _parts(self._pending, 1000):
            self._client.log_batch(self._id, metrics=part)
        self._pending = []

    def close(self, state: str) -> None:
        self._client.set_terminated(self._id, STATES.get(state, "FAILED"))

    def _create(self, run: Run) -> str:
        experiment = self._client.get_experiment_by_name(run.name)
        identity = experiment.experiment_id if experiment is not None else self._client.create_experiment(run.name)
        created: str = self._client.create_run(identity, run_name=run.run_id).info.run_id
        for parameters in _parts([Param(key, str(value)[:LONGEST]) for key, value in run.parameters.items()]):
            self._client.log_batch(created, params=parameters)
        for tags in _parts([RunTag(key, value[:LONGEST]) for key, value in run.tags.items()]):
            self._client.log_batch(created, tags=tags)
        return created


begin = MlflowRun


def _parts(items: list[Each], size: int = MOST_AT_ONCE) -> Iterator[list[Each]]:
    return (items[first : first + size] for first in range(0, len(items), size))
