"""The batch step of a Slurm job: watches over the run from inside its allocation, and puts the job back into the queue
when it was stopped because its time was nearly up or Slurm needed the nodes.

A run that somebody stopped never goes back: only Slurm's own reasons do that.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import launch
from launcher.attempt import StopRequest
from launcher.backends import slurm_queue
from launcher.store import RunFolder


def main(run_dir: Path) -> int:
    folder = RunFolder(run_dir)
    stop = StopRequest()
    stop.install(signal.SIGUSR1)
    plan = folder.read_plan()
    record = launch.attend(folder, plan, _print, stop)
    job = slurm_queue.own_job()
    reason = _reason_to_go_back(job, stop)
    if record.state != "SUCCEEDED" and reason and plan.spec.slurm.requeue:
        folder.result.unlink()
        folder.append_event({"event": "requeued", "job": job, "reason": reason})
        if slurm_queue.put_back(job):
            signal.pause()  # Slurm ends this step; ending by itself would look like the end of the job
    return record.exit_code or 0


def _reason_to_go_back(job: str, stop: StopRequest) -> str | None:
    if stop.signals and stop.signals[0] == signal.SIGUSR1:
        return "its time is nearly up"
    return "Slurm needs the nodes" if slurm_queue.taken_away(job) else None


def _print(event: Mapping[str, Any]) -> None:
    if event.get("event") not in ("log", "progress"):
        print(dict(event), flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
