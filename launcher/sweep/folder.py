"""A sweep's folder, `sweeps/<id>` beside the runs: the files it was made of, its journal and who works on it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launcher import durable, jobfile, lock, readback, store
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.lock import Holder
from launcher.spec import JobSpec
from launcher.sweep import file
from launcher.sweep.spec import SweepSpec

WORKERS = "workers"
LONGEST_NAME = 48
"""Characters of the job's name that the ids of its sweeps and trials begin with."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    folder: Path
    job: bytes
    job_path: Path
    """Where the job file was; its target lies relative to it."""
    sweep_file: bytes
    overrides: tuple[str, ...]
    spec: SweepSpec
    job_spec: JobSpec

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def runs_dir(self) -> Path:
        return self.folder.parent.parent

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        """What its workers in the background say."""
        return self.folder / "launcher.log"

    @property
    def resume_command(self) -> str:
        """What to type to go on with it."""
        return f"launcher sweep resume {self.id}{store.where(self.runs_dir)}"

    @property
    def digest(self) -> str:
        """Of what every worker must have alike."""
        parts = [self.job, self.sweep_file, json.dumps(self.overrides).encode()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def worker_lock(self, worker: str) -> Path:
        return self.folder / WORKERS / worker

    def works(self, worker: str | None) -> bool | None:
        """Whether a trial's worker is at it still; None where this machine cannot say."""
        if worker is None:  # it let go of the trial
            return False
        path = self.worker_lock(worker)
        if worker and lock.last_holder(path).boot == lock.boot_id():
            return lock.holder(path) is not None
        return None

    def run_id(self, number: int) -> str:
        """The id of a trial's run: always the same one, so that a trial in flight is found again."""
        stamp = self.id.rsplit("-", 2)[1:]
        return "-".join([self.job_spec.name[:LONGEST_NAME], "trial", f"{number:04d}", *stamp])


def read(job_path: Path, sweep_path: Path, overrides: Sequence[str], runs_dir: Path, sweep_id: str | None) -> Sweep:
    """A sweep as its files say; nothing is written. Raises RequestError with all faults."""
    job = jobfile.contents(job_path)
    against = file.Job(job, job_path, overrides)
    text = jobfile.contents(sweep_path)
    spec = file.read(text, str(sweep_path), against)
    fresh = f"{against.spec.name[:LONGEST_NAME]}-sweep-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    return Sweep(
        folder=runs_dir.resolve() / store.SWEEPS / (sweep_id or fresh),
        job=job,
        job_path=job_path.resolve(),
        sweep_file=text,
        overrides=tuple(overrides),
        spec=spec,
        job_spec=against.spec,
    )


def write(sweep: Sweep) -> None:
    """Make its folder, whole or not at all; one that is there stays."""
    unborn = sweep.folder.with_name(f".{sweep.id}.{os.getpid()}")
    try:
        if sweep.folder.exists():
            return
        sweep.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unborn.mkdir(mode=0o700)  # each by itself: the mode goes for the last folder of a path alone
        (unborn / WORKERS).mkdir(mode=0o700)
        about = {"job_path": str(sweep.job_path), "overrides": sweep.overrides}
        contents = {"job.yaml": sweep.job, "sweep.yaml": sweep.sweep_file, "sweep.json": json.dumps(about).encode()}
        for name, content in contents.items():
            durable.write(unborn / name, [memoryview(content)])
        durable.sync_folder(unborn)
        unborn.rename(sweep.folder)
        durable.sync_folder(sweep.folder.parent)
    except OSError as error:
        shutil.rmtree(unborn, ignore_errors=True)
        raise EnvironmentUnfit(
            f"{error.filename or sweep.folder}: the sweep's folder cannot be written ({error.strerror})",
            hint="--runs-dir DIR or LAUNCHER_RUNS_DIR=DIR puts it elsewhere",
        ) from error


def find(runs_dir: Path, name: str) -> Path:
    """The folder of the sweep with this id, unique prefix of one, or `latest`. Raises RequestError."""
    return store.find(runs_dir / store.SWEEPS, name, noun="sweep")


def workers(folder: Path) -> dict[Path, Holder]:
    """Who works on it now and sees this folder: each one's lock, and who holds it."""
    found = ((path, lock.holder(path)) for path in sorted((folder / WORKERS).glob("*")))
    return {path: holder for path, holder in found if holder is not None}


def opened(folder: Path) -> Sweep:
    """A sweep that was begun. Raises RequestError where its folder is damaged, or its job no longer fits."""
    try:
        about = readback.json_object(folder / "sweep.json")
        job, text = (folder / "job.yaml").read_bytes(), (folder / "sweep.yaml").read_bytes()
        job_path, overrides = Path(about["job_path"]), tuple(map(str, about["overrides"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{folder}: not the folder of a sweep ({error})", hint="it is damaged; start a new sweep"
        ) from error
    against = file.Job(job, job_path, overrides)
    return Sweep(
        folder=folder.resolve(),
        job=job,
        job_path=job_path,
        sweep_file=text,
        overrides=overrides,
        spec=file.read(text, str(folder / "sweep.yaml"), against),
        job_spec=against.spec,
    )
