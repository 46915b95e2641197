"""Kill and compare, on the user's own job: one run undisturbed, one killed at random moments and resumed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import comparison, jobfile, launch, store
from launcher.comparison import Finding
from launcher.errors import JobFailed, RequestError
from launcher.journal import Listener
from launcher.store import RunFolder, RunRecord


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    undisturbed: str
    """Run ids."""
    killed: str
    resumed_at: tuple[int, ...]
    """The steps that the killed run went on from, one for each kill that met it."""
    findings: tuple[Finding, ...]
    diagnosis: str = ""

    @property
    def same(self) -> bool:
        return all(finding.answer != "no" for finding in self.findings)


def verify_resume(
    job_path: Path, overrides: Sequence[str], *, kills: int, seed: int, runs_dir: Path, listener: Listener
) -> Verified:
    """Run the job twice to its end, once killed `kills` times, and compare.

    Raises RequestError for a job that saves only at its end or does not run here, JobFailed if it fails by itself.
    """
    overrides = [*overrides, "retry.max=0"]
    _check_backend(job_path, overrides)
    undisturbed = _run(job_path, overrides, runs_dir, listener)
    _succeeded(undisturbed)
    saves = _steps(undisturbed, "checkpoint")
    if len(saves) < 2:
        raise RequestError(
            f"{job_path}: the job saves only at its end, so there is nothing to go on from after a kill",
            hint="--set checkpoint.every=N with a smaller N",
        )
    chance = random.Random(seed)  # noqa: S311  (to repeat a trial, not to hide one)
    targets = sorted(chance.choice(saves[:-1]) for _ in range(kills))
    killer = Killer(listener, targets[0], chance)
    killed = _run(job_path, overrides, runs_dir, killer)
    for target in [*targets[1:], None]:
        killer.close()
        if killed.state == "SUCCEEDED":
            break
        _check_cause(killed)
        killer = Killer(listener, target, chance)
        killed = launch.resume(Path(killed.run_dir), detach=False, listener=killer)
    killer.close()
    _succeeded(killed)
    return _verified(undisturbed, killed)


@dataclass
class Killer:
    """Passes events on, and kills a rank or an agent a moment after the checkpoint of a step was saved."""

    listener: Listener
    target: int | None
    chance: random.Random
    pids: set[int] = field(default_factory=set)
    timer: threading.Timer | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.listener(event)
        if event.get("event") in ("ready", "started"):
            self.pids.add(int(event["pid"]))
        due = event.get("event") == "checkpoint" and self.target is not None and event["step"] >= self.target
        if due and self.timer is None and self.pids:
            victim = self.chance.choice(sorted(self.pids))
            self.timer = threading.Timer(self.chance.uniform(0, 0.2), os.kill, (victim, signal.SIGKILL))
            self.timer.start()

    def close(self) -> None:
        """The attempt is over: nobody is to be killed any more."""
        if self.timer is not None:
            self.timer.cancel()


def _run(job_path: Path, overrides: Sequence[str], runs_dir: Path, listener: Listener) -> RunRecord:
    return launch.run(job_path, overrides, runs_dir=runs_dir, resume="never", detach=False, listener=listener)


def _check_backend(job_path: Path, overrides: Sequence[str]) -> None:
    backend = jobfile.load(job_path, overrides).backend
    if backend != "local":
        raise RequestError(
            f"{job_path} backend: ranks are killed on this machine only, and {backend} has them elsewhere",
            hint="--set backend=local",
        )


def _succeeded(record: RunRecord) -> None:
    if record.state != "SUCCEEDED":
        raise JobFailed(
            f"{record.run_id} ended {record.state} by itself, so there is nothing to compare",
            hint=f"launcher show {record.run_id}",
        )


def _check_cause(record: RunRecord) -> None:
    """That it was the kill that ended the attempt, and no fault of the job."""
    cause = record.root_cause or {}
    if record.state != "FAILED" or cause.get("kind") in ("user", "numerics", "request", "environment", "storage"):
        _succeeded(record)


def _steps(record: RunRecord, kind: str) -> list[int]:
    events = store.events(RunFolder(Path(record.run_dir)))
    return [event["step"] for event in events if event.get("event") == kind and isinstance(event.get("step"), int)]


def _verified(undisturbed: RunRecord, killed: RunRecord) -> Verified:
    folders = RunFolder(Path(undisturbed.run_dir)), RunFolder(Path(killed.run_dir))
    resumed = tuple(_steps(killed, "resumed"))
    return Verified(
        undisturbed=undisturbed.run_id,
        killed=killed.run_id,
        resumed_at=resumed,
        findings=tuple(comparison.compare(*folders)),
        diagnosis=_diagnosis(comparison.diverged_at(*folders), resumed),
    )


def _diagnosis(step: int | None, resumed: Sequence[int]) -> str:
    if step is None:
        return ""
    if not resumed or step <= min(resumed):
        return f"the two differ from step {step} on, before anything was resumed: the job itself does not repeat"
    return f"the two differ from step {step} on, after going on from step {max(r for r in resumed if r < step)}"
