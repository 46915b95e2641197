"""What a run is held against: the run it began with, or else the run of its name before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher import readback, store
from launcher.store import RunFolder, RunRecord


@dataclass(frozen=True)
class Beginning:
    """The run whose checkpoint another one began with (`launcher run --from`), as that one's record names it."""

    run: str
    checkpoint: str


def beginning(folder: RunFolder) -> Beginning | None:
    """None for a run that began with its first step, and for a record that cannot be read."""
    about = (readback.json_object_or_none(folder.record) or {}).get("began_with")
    if not isinstance(about, dict) or not isinstance(about.get("run"), str):
        return None
    return Beginning(about["run"], str(about.get("checkpoint", "")))


def find(record: RunRecord) -> Path | None:
    """The parent's folder; None where there is none, or none is left."""
    run_dir = Path(record.run_dir)
    begun = beginning(RunFolder(run_dir))
    if begun and begun.run in store.ids(run_dir.parent):
        return run_dir.parent / begun.run
    return _before(record)


def _before(record: RunRecord) -> Path | None:
    """The newest of the runs of this name that began before."""
    run_dir = Path(record.run_dir)
    earlier: list[Path] = []
    for other in store.list_runs(run_dir.parent):
        if other.run_id == record.run_id:
            return earlier[-1] if earlier else None
        if other.name == record.name and RunFolder(Path(other.run_dir)).plan.is_file():
            earlier.append(Path(other.run_dir))
    return None
