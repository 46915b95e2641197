"""A worker of a sweep whose trials are fake, for tests that kill it: fake_worker.py start|resume FOLDER [JOIN]."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.sweep import sweeping, trial, worker

FAKE = Path(__file__).with_name("fake_trial.py")


def words(run_dir: Path, parent: int, _share: object) -> list[str]:
    return [sys.executable, "-S", str(FAKE), str(run_dir), str(parent)]


def tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def main(what: str, folder: Path, join: str | None) -> int:
    trial.words = words
    worker.SILENCE, worker.BEAT = 3.0, 0.5
    files, runs = folder.parent, folder
    if what == "resume":
        (sweep,) = (runs / "sweeps").iterdir()
        return not sweeping.resume(sweep, listener=tell)
    return not sweeping.start(files / "job.yaml", files / "sweep.yaml", [], runs_dir=runs, join=join, listener=tell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
