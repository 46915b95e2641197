"""From a job to a run's folder: read and checked, decided, written; nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import backends, creation, jobfile, plan, provenance, store, target, trackers
from launcher.plan import Plan
from launcher.spec import JobSpec
from launcher.store import RunFolder


def prepare(
    job: bytes, job_path: Path, overrides: Sequence[str], *, run_id: str, runs_dir: Path, about: Mapping[str, Any]
) -> RunFolder:
    """The folder of a run that waits for `resume`; where one of this id is there already, that one as it is.

    `job` is the job file's text as it was at `job_path`, `about` goes into the run's record. Raises LauncherError.
    """
    folder = RunFolder(runs_dir.resolve() / run_id)
    if not folder.path.exists():
        spec = settled(jobfile.parse(job, source=str(job_path), overrides=overrides), job_path)
        decided = decide(spec, job_path, runs_dir, run_id)
        create(job, job_path, overrides, runs_dir, decided, about=about)
    return folder


def load(job_path: Path, overrides: Sequence[str]) -> JobSpec:
    """The job, with all that can be checked before anything starts. Raises RequestError."""
    return settled(jobfile.load(job_path, overrides), job_path)


def settled(spec: JobSpec, job_path: Path) -> JobSpec:
    """A job that was read, checked further and completed by its backend."""
    target.check(spec.task, job_path)
    trackers.check_installed(spec)
    return backends.named(spec.backend).settle(spec, job_path)


def decide(spec: JobSpec, job_path: Path, runs_dir: Path, run_id: str | None = None) -> Plan:
    run_id = run_id or store.new_run_id(spec.name)
    return plan.make(
        spec,
        run_id=run_id,
        run_dir=runs_dir.resolve() / run_id,
        job_dir=job_path.resolve().parent,
        machine=backends.named(spec.backend).machine(spec),
    )


def create(
    job: bytes,
    job_path: Path,
    overrides: Sequence[str],
    runs_dir: Path,
    decided: Plan,
    *,
    about: Mapping[str, Any],
    fill: Callable[[RunFolder], None] | None = None,
) -> RunFolder:
    record, patch = provenance.gather(decided.spec.name, decided.spec.task.target, job, job_path.resolve())
    record |= about
    return creation.create(runs_dir, decided, job=job, overrides=list(overrides), record=record, patch=patch, fill=fill)
