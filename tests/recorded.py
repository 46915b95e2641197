"""Run folders with a plan, metrics and events, made without running anything."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from launcher import creation, plan, store
from launcher.plan import Machine
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder, RunRecord

ABOUT = {"name": "mlp", "created": "2026-11-21T22:55:00+00:00", "job_sha256": "ab", "git": {"commit": "c0ffee"}}


def recorded_run(runs: Path, run_id: str, *, losses: list[float], width: int = 128, **result: Any) -> RunFolder:
    """A finished run of one rank, with a loss for each step."""
    spec = JobSpec(
        name=run_id.split("-")[0],
        task=TaskSpec(target="tasks/mlp.py:build", args={"width": width}),
        training=Training(epochs=1),
    )
    run_dir = runs.resolve() / run_id
    decided = plan.make(spec, run_id=run_id, run_dir=run_dir, job_dir=runs, machine=Machine(cores=2))
    record = {**ABOUT, "name": spec.name, "versions": {"torch": "2.13.0+cpu"}}
    folder = creation.create(runs, decided, job=b"name: mlp\n", overrides=[], record=record, patch="")
    for step, loss in enumerate(losses, 1):
        _append(folder.ledger, {"step": step, "order": None, "loss": float(loss).hex()})
    _append(folder.metrics, {"step": len(losses), "epoch": 1, "validation": {"accuracy": 0.9}})
    folder.append_event({"event": "attempt", "attempt": 1})
    use = {"steps_per_second": 80.0, "memory": 400e6, "gpu_memory": 2e9, "gpu_busy": 0.5}
    for step in range(1, len(losses) + 1):
        folder.append_event({"event": "progress", "rank": 0, "step": step, "epoch": 1, **use, "ranks": {"0": use}})
    outcome = RunRecord(
        run_id=run_id,
        name=spec.name,
        state="SUCCEEDED",
        created=ABOUT["created"],  # type: ignore[arg-type]
        run_dir=str(run_dir),
        step=len(losses),
        metrics={"accuracy": 0.9},
        exit_code=0,
    )
    store.write_result(folder, dataclasses.replace(outcome, **result))
    return folder


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
