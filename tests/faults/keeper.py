"""A stand-in for a launcher: makes a run, watches an attempt, writes the verdict, and says what it has done."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from launcher import creation, plan, store
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder

RUN = "job-20260101T000000-aaaa"
JOB, PATCH = b"name: job\n", "patch"
CREATED, DECIDED = 1, 2
"""What is said: the run exists; its verdict stands."""


def keep(runs_dir: Path, said: Callable[[int], None]) -> None:
    folder = creation.create(runs_dir, plan_of(runs_dir), job=JOB, overrides=[], record={"name": "job"}, patch=PATCH)
    said(CREATED)
    go_on(folder, folder.read_plan())
    said(DECIDED)


def go_on(folder: RunFolder, decided: Plan) -> None:
    """One attempt that succeeds."""
    with folder.watched():
        folder.begin_attempt(decided)
        folder.append_event({"event": "attempt", "attempt": decided.attempt})
        with contextlib.suppress(OSError):  # as ranks and node programs do
            store.write_whole(folder.rank_outcome(decided.attempt, 0), "{}")
        folder.append_event({"event": "checkpoint", "step": 1, "name": "step-00000001"})
        verdict = dataclasses.replace(store.record(folder.path), state="SUCCEEDED", attempts=decided.attempt)
        store.write_result(folder, verdict)


def plan_of(runs_dir: Path) -> Plan:
    spec = JobSpec(name="job", task=TaskSpec(target="t.py:f"), training=Training(steps=1))
    run_dir = runs_dir / RUN
    return plan.make(spec, run_id=RUN, run_dir=run_dir, job_dir=runs_dir, machine=Machine(cores=1))
