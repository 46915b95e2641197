"""Mirrors of a run in other tools. Each is a process of its own that reads the run's files, which are the truth and the
queue at once: nothing here is in the way of a training, and a tracker that hangs or fails loses nothing but itself."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from launcher.errors import RequestError
from launcher.spec import JobSpec
from launcher.store import RunFolder

MODULES = {name: f"launcher.trackers.{name}" for name in ("csv", "tensorboard", "mlflow", "wandb", "prometheus")}
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
"""What a tracker needs, from the extra of its own name."""


@dataclass(frozen=True)
class Run:
    """What a tracker is told once, when it begins."""

    folder: RunFolder
    run_id: str
    name: str
    parameters: Mapping[str, Any]
    """Every setting of the job that has one, by its dotted key."""
    tags: Mapping[str, str]
    """Commit, digest of the environment, versions, host."""
    port: int | None
    """Prometheus' own setting."""
    kept: dict[str, Any]
    """What the tracker wants to know when the run is gone on with; it is written down after each call."""


class Tracker(Protocol):
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in the values of a step; a validation's are named `validation/…`."""

    def event(self, event: Mapping[str, Any]) -> None: ...

    def flush(self) -> None:
        """All there was to read has been told."""

    def close(self, state: str) -> None:
        """The run has ended so, or its launcher has."""


def wanted(spec: JobSpec) -> list[str]:
    """The trackers that the job asks for."""
    names = [name for name in MODULES if getattr(spec.trackers, name, False)]
    return names + (["prometheus"] if spec.metrics.prometheus is not None else [])


def check_installed(spec: JobSpec) -> None:
    """Raises RequestError where a tracker's package is missing."""
    for name in wanted(spec):
        package = PACKAGES.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            raise RequestError(
                f"trackers.{name} needs the package {package}, which is not installed here",
                hint=f"pip install 'launcher[{name}]'",
            )


def begin(name: str, run: Run) -> Tracker:
    return cast(Tracker, importlib.import_module(MODULES[name]).begin(run))


def describe(folder: RunFolder, kept: dict[str, Any]) -> Run:
    """Read what a tracker is told from the run's own files."""
    plan = json.loads(folder.plan.read_text())
    record = json.loads(folder.record.read_text())
    versions = record.get("versions", {})
    tags = {
        "git_commit": (record.get("git") or {}).get("commit", ""),
        "environment": record.get("environment", ""),
        "job_sha256": record.get("job_sha256", ""),
        "host": record.get("host", ""),
        **{f"version.{name}": version for name, version in versions.items()},
    }
    return Run(
        folder=folder,
        run_id=plan["run_id"],
        name=plan["spec"]["name"],
        parameters=dict(_flat(plan["spec"])),
        tags={key: str(value) for key, value in tags.items() if value},
        port=plan["spec"]["metrics"]["prometheus"],
        kept=kept,
    )


def _flat(section: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found.append((f"{prefix}{key}", value))
    return found
