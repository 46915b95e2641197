"""What came of a sweep so far: its trials, the best of them, and how to repeat one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from launcher import jobfile, store
from launcher.errors import RequestError
from launcher.history import Points
from launcher.jobfile.overrides import setting
from launcher.store import RunFolder
from launcher.sweep import board, storage
from launcher.sweep.folder import Sweep

STATES = (*board.WORDS.values(), INTERRUPTED := "interrupted")


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    number: int
    state: str
    """waiting, running, complete, pruned or failed; interrupted: it goes on when the sweep does."""
    value: float | None = None
    step: int | None = None
    """The last one that was reported; of a pruned trial, where it was."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    rows: tuple[TrialRow, ...]
    best: TrialRow | None

    def counts(self) -> dict[str, int]:
        states = [row.state for row in self.rows]
        return {state: states.count(state) for state in STATES if state in states}


def read(sweep: Sweep) -> Outcome:
    """Raises RequestError and EnvironmentUnfit where the storage has no answer."""
    with storage.opened(sweep) as kept:
        trials = board.read(kept, sweep).trials()
    rows = tuple(_row(sweep, trial) for trial in trials)
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    pick = min if sweep.spec.mode == "min" else max
    return Outcome(rows=rows, best=pick(complete, key=_value, default=None))


def needed_best(sweep: Sweep) -> TrialRow:
    """The best complete trial; of equals the first. Raises RequestError where none is complete."""
    best = read(sweep).best
    if best is None:
        raise RequestError(
            f"{sweep.id}: no trial is complete yet",
            hint=f"launcher sweep status {sweep.id}{store.where(sweep.runs_dir)} says how far it is",
        )
    return best


def curves(sweep: Sweep, outcome: Outcome) -> dict[str, Points]:
    """By trial number: the value of each complete trial, and the best one so far."""
    points = [(row.number, row.value) for row in outcome.rows if row.state == "complete" and row.value is not None]
    pick = min if sweep.spec.mode == "min" else max
    best = [(number, pick(value for _, value in points[: place + 1])) for place, (number, _) in enumerate(points)]
    return {sweep.spec.metric: tuple(points), "best so far": tuple(best)} if points else {}


def overrides(sweep: Sweep, row: TrialRow) -> Sequence[str]:
    """All settings of a trial, its share of the machine among them, as its run has them."""
    try:
        recorded = json.loads(RunFolder(sweep.runs_dir / str(row.run_id)).overrides.read_bytes())
        return [str(each) for each in recorded]
    except (OSError, ValueError, TypeError):  # it ran on another machine, or was cleared away
        return [*sweep.overrides, *(setting(key, value) for key, value in row.settings.items())]


def command(sweep: Sweep, row: TrialRow) -> str:
    """The line that repeats a trial as a run of its own."""
    words = [word for override in overrides(sweep, row) for word in ("--set", override)]
    return shlex.join(["launcher", "run", str(sweep.job_path), *words])


def write_job(sweep: Sweep, row: TrialRow, path: Path) -> None:
    """Write the job file that repeats a trial; beside the sweep's own, for what it names lies there."""
    if path.resolve().parent != sweep.job_path.parent:
        raise RequestError(
            f"{path}: a job file names its target relative to itself",
            hint=f"--output {sweep.job_path.parent / path.name}",
        )
    data = jobfile.overridden(sweep.job, overrides(sweep, row))
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    try:
        store.write_whole(path, text)
    except OSError as error:
        raise RequestError(f"{path}: the job file cannot be written ({error.strerror})") from error


def _row(sweep: Sweep, trial: Any) -> TrialRow:
    state, attrs = board.WORDS[trial.state], trial.user_attrs
    step, value = trial.last_step, trial.value if state != "running" else None
    run_id = attrs.get("run")
    if state == "running" and run_id:
        record = store.record(sweep.runs_dir / run_id)
        state = INTERRUPTED if sweep.works(attrs.get("owner", "")) is False else state
        step, value = record.step, record.metrics.get(sweep.spec.metric)
    return TrialRow(
        number=trial.number,
        state=state,
        value=value,
        step=step,
        settings=attrs.get("settings") or {},
        run_id=run_id,
        reason=attrs.get("reason"),
    )


def _value(row: TrialRow) -> float:
    return row.value or 0.0
