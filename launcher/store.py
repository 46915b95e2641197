"""Run folders: record, list, fold into a RunRecord. The only place that spells their file names."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import os
import re
import secrets
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from launcher import durable, lock, readback, typed
from launcher.errors import RequestError
from launcher.lock import Holder
from launcher.plan import Plan

State = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED", "UNKNOWN"]
STATES = get_args(State)

SWEEPS = "sweeps"
"""Beside the runs, the folder of the sweeps' own; their ids are of the same form."""

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}-\d{8}T\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as its folder tells it."""

    run_id: str
    name: str
    state: State
    created: str
    """UTC, ISO 8601."""
    run_dir: str
    attempts: int = 0
    world_sizes: tuple[int, ...] = ()
    """How many processes each attempt had. The bits are those of a run of which all attempts had the same number."""
    step: int = 0
    epoch: int = 0
    total_steps: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """The newest values; None for one that is not finite."""
    checkpoint: str | None = None
    """Name of the newest committed checkpoint, a folder under `checkpoints/`."""
    weights_sha256: str | None = None
    root_cause: Mapping[str, Any] | None = None
    """Why it failed: kind, message and, where known, rank, node, host, type, traceback, log and hint."""
    exit_code: int | None = None
    """What the command that ran it ended with; None while it is not over."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"world_sizes": list(self.world_sizes)}


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = path / "job.yaml"
        self.overrides = path / "overrides.json"
        self.plan = path / "plan.json"
        self.record = path / "record.json"
        self.patch = path / "git.patch"
        self.events = path / "events.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.ledger = path / "ledger.jsonl"
        self.result = path / "result.json"
        self.report = path / "report.html"
        self.lock = path / "lock"
        self.checkpoints = path / "checkpoints"
        self.submission = path / "submission.json"
        self.supervisor_log = path / "logs" / "launcher.log"

    def attempt_dir(self, attempt: int) -> Path:
        return self.path / "attempts" / str(attempt)

    def rank_outcome(self, attempt: int, rank: int) -> Path:
        return self.attempt_dir(attempt) / f"rank-{rank}.json"

    def node_outcome(self, attempt: int, node_rank: int) -> Path:
        return self.attempt_dir(attempt) / f"node-{node_rank}.json"

    def node_facts(self, node_rank: int) -> Path:
        return self.path / "nodes" / f"{node_rank}.json"

    def rank_log(self, attempt: int, rank: int) -> Path:
        return self.path / "logs" / f"attempt-{attempt}" / f"rank-{rank}.log"

    def node_log(self, attempt: int, node_rank: int) -> Path:
        return self.path / "logs" / f"attempt-{attempt}" / f"node-{node_rank}.log"

    def measured(self, rank: int) -> Path:
        return self.path / "measured" / f"rank-{rank}.json"

    @property
    def profile(self) -> Path:
        return self.path / "measured" / "profile.json"

    @property
    def trace(self) -> Path:
        return self.path / "measured" / "trace.json.gz"

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Add one line to the record of what happened; readers pass over a torn one.

        A disk that is full or failing loses the line and does not end the run: what must not be lost is elsewhere.
        """
        line = json.dumps({"time": datetime.now(UTC).isoformat(), **event}) + "\n"
        with contextlib.suppress(OSError):
            descriptor = os.open(self.events, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" * bool(torn) + line.encode())
            finally:
                os.close(descriptor)

    def read_plan(self) -> Plan:
        try:
            return Plan.from_json(readback.json_object(self.plan))
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{self.plan}: not the plan of a run ({error})", hint="the folder is damaged; start a new run"
            ) from error

    def read_submission(self) -> dict[str, Any] | None:
        """The scheduler's job that runs this: backend and job; None for a run that no scheduler has."""
        return readback.json_object_or_none(self.submission)

    def read_node_outcome(self, attempt: int, node_rank: int) -> dict[str, Any] | None:
        return readback.json_object_or_none(self.node_outcome(attempt, node_rank))

    def begin_attempt(self, plan: Plan) -> None:
        """Make room for what the attempt writes, clear away what killed ones left half written, and record its plan."""
        with lock.unfit(self.path):
            self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        for place in (self.path, self.path / "nodes", *self.path.glob("attempts/*")):
            for leftover in place.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        for folder in (self.attempt_dir(plan.attempt), self.rank_log(plan.attempt, 0).parent, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.result.unlink(missing_ok=True)
        write_whole(self.plan, json.dumps(plan.to_json(), indent=1))

    def watched(self) -> AbstractContextManager[None]:
        """Hold the run's lock: only one launcher watches a run. Raises RequestError when another one does."""
        return lock.hold(self.lock)

    def holder(self) -> Holder | None:
        """Who watches the run now; None when nobody does."""
        return lock.holder(self.lock)


def new_run_id(name: str) -> str:
    return f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


def find(runs_dir: Path, name: str, noun: str = "run") -> Path:
    """The folder of the run with this id, unique prefix of one, or `latest`."""
    runs = sorted(_folders(runs_dir), key=_age)
    if not runs:
        raise RequestError(
            f"{runs_dir}: no {noun}s here", hint="--runs-dir or LAUNCHER_RUNS_DIR says where else to look"
        )
    if name == "latest":
        return runs[-1]
    matches = [run for run in runs if run.name == name] or [run for run in runs if name and run.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RequestError(
            f"{name}: {len(matches)} {noun}s begin so: " + ", ".join(run.name for run in matches[-5:]),
            hint="give more letters of the id",
        )
    if noun == "run" and any(name and sweep.startswith(name) for sweep in ids(runs_dir / SWEEPS)):
        raise RequestError(f"{name}: a sweep, not a run", hint="launcher sweep --help says what can be done with one")
    lister = "launcher runs" if noun == "run" else f"launcher {noun} list"
    nearest = difflib.get_close_matches(name, [run.name for run in runs], n=3, cutoff=0.3)
    raise RequestError(
        f"{name}: no such {noun} in {runs_dir}",
        hint=f"nearest: {', '.join(nearest)}" if nearest else f"`{lister}` lists them",
    )


def ids(runs_dir: Path) -> list[str]:
    """The ids of all runs under a folder, oldest first."""
    return [folder.name for folder in sorted(_folders(runs_dir), key=_age)]


def where(runs_dir: Path) -> str:
    """The option that names this folder of runs to a command, where it is not the default."""
    default = Path(os.environ.get("LAUNCHER_RUNS_DIR") or "runs").resolve()
    return "" if runs_dir.resolve() == default else f" --runs-dir {shlex.quote(str(runs_dir))}"


def list_runs(runs_dir: Path) -> list[RunRecord]:
    """All runs under a folder, oldest first."""
    return [record(folder) for folder in sorted(_folders(runs_dir), key=_age)]


def record(run_dir: Path) -> RunRecord:
    """Fold a run's folder into its record. Never raises for a damaged folder: what cannot be read is UNKNOWN."""
    folder = RunFolder(run_dir)
    about = readback.json_object_or_none(folder.record) or {}
    base: dict[str, Any] = {
        "run_id": run_dir.name,
        "name": str(about.get("name", run_dir.name)),
        "created": str(about.get("created", "")),
        "run_dir": str(run_dir),
    }
    result = readback.json_object_or_none(folder.result)
    if result is not None:
        return RunRecord(**{"state": "UNKNOWN", **typed.fitting(RunRecord, result), **base})
    return _unfinished(folder, base)


def write_result(folder: RunFolder, outcome: RunRecord) -> None:
    with lock.unfit(folder.result):
        write_whole(folder.result, json.dumps(outcome.to_json(), indent=1))


def events(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """The events of a run in order."""
    return readback.json_lines(folder.events)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, meets the old content or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    durable.sync_folder(path.parent)


def _unfinished(folder: RunFolder, base: dict[str, Any]) -> RunRecord:
    """The record of a run that has no verdict: it is under way, waits, or lost its launcher."""
    seen = _fold_events(folder)
    holder = folder.holder()
    waits = seen.pop("waits")
    if holder is not None:
        return RunRecord(**base, state="RUNNING", **seen)
    if waits:
        return RunRecord(**base, state="QUEUED", **seen)
    if not _exists(folder.attempt_dir(1).parent):
        state: State = "QUEUED" if _exists(folder.plan) else "UNKNOWN"
        return RunRecord(**base, state=state, **seen)
    last = lock.last_holder(folder.lock)
    if last.host not in (None, socket.gethostname()):
        return RunRecord(**base, state="UNKNOWN", **seen)
    cause = {
        "kind": "launcher",
        "message": "the launcher that watched this run ended without a verdict (killed, or the machine went down)",
        "host": last.host,
    }
    return RunRecord(**base, state="FAILED", root_cause=cause, exit_code=1, **seen)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a disk that fails
        return False


_FOLDED = {
    "progress": ("step", "epoch", "total_steps"),
    "validated": ("step", "epoch", "metrics"),
}


def _fold_events(folder: RunFolder) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for event in events(folder):
        kind = event.get("event")
        if kind == "attempt":
            sizes = (*seen.get("world_sizes", ()), event.get("world_size", 0))
            seen |= {"attempts": event.get("attempt", 0), "world_sizes": sizes, "waits": False}
        elif kind in ("submitted", "requeued"):
            seen["waits"] = True
        elif kind == "checkpoint":
            seen["checkpoint"] = event.get("name")
            seen["step"] = max(step for step in (seen.get("step"), event.get("step"), 0) if type(step) is int)
        for key in _FOLDED.get(str(kind), ()):
            if key in event:
                seen[key] = event[key]
    return {**typed.fitting(RunRecord, seen), "waits": seen.get("waits", False)}


def _folders(runs_dir: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(runs_dir) as entries:
        for entry in entries:
            if RUN_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield runs_dir / entry.name


def _age(folder: Path) -> tuple[str, str]:
    """Sorts by the time in the id; ids of one second by their whole text."""
    return folder.name.rsplit("-", 2)[1], folder.name
