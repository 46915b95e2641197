"""All sweeps of a folder of runs at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from launcher import store
from launcher.errors import LauncherError
from launcher.sweep import folder, outcome
from launcher.sweep.folder import Sweep
from launcher.sweep.outcome import TrialRow
from launcher.sweep.storage import masked

State = Literal["RUNNING", "STOPPED", "COMPLETE", "UNKNOWN"]


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    id: str
    state: State
    """RUNNING: a worker is at it; COMPLETE: all its trials are over; UNKNOWN: `reason` says why."""
    trials: Mapping[str, int] = field(default_factory=dict)
    """How many are in which state."""
    best: Mapping[str, Any] | None = None
    """Its metric, value and trial."""
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read(runs_dir: Path) -> list[SweepRow]:
    """The oldest first. One that cannot be read is listed all the same."""
    sweeps = runs_dir / store.SWEEPS
    return [_row(sweeps / name) for name in store.ids(sweeps)]


def _row(path: Path) -> SweepRow:
    runs = bool(folder.workers(path))
    try:
        sweep = folder.opened(path)
        if sweep.spec.storage is not None:  # it may be slow, or gone, and is asked for each sweep by itself
            status = f"launcher sweep status {sweep.id}{store.where(sweep.runs_dir)}"
            reason = f"its trials are in {masked(sweep.spec.storage)}; `{status}` asks there"
            return SweepRow(id=sweep.id, state="RUNNING" if runs else "UNKNOWN", reason=reason)
        found = outcome.read(sweep)
    except LauncherError as error:
        return SweepRow(id=path.name, state="RUNNING" if runs else "UNKNOWN", reason=error.message)
    over = all(row.state in ("complete", "pruned", "failed") for row in found.rows)
    state: State = "RUNNING" if runs else "COMPLETE" if over else "STOPPED"
    return SweepRow(id=sweep.id, state=state, trials=found.counts(), best=_best(sweep, found.best))


def _best(sweep: Sweep, row: TrialRow | None) -> dict[str, Any] | None:
    return None if row is None else {"metric": sweep.spec.metric, "value": row.value, "trial": row.number}
