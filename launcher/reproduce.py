"""Run a recorded run again and judge: BITWISE, DIVERGED at a step, or NOT COMPARABLE, and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from launcher import comparison, jobfile, launch, provenance, readback
from launcher.comparison import Finding
from launcher.errors import RequestError
from launcher.journal import Listener
from launcher.store import RunFolder

Word = Literal["BITWISE", "DIVERGED", "NOT COMPARABLE"]


@dataclass(frozen=True)
class Field:
    """A part of the inputs that is not as it was."""

    name: str
    then: str
    now: str


@dataclass(frozen=True)
class Reproduced:
    """The verdict, with what it stands on."""

    verdict: Word
    run: str
    again: str | None
    """Run id of the second run; None where there was none to make."""
    step: int | None
    """The first step that differs."""
    differing: tuple[Field, ...]
    findings: tuple[Finding, ...] = ()


def reproduce(run_dir: Path, *, runs_dir: Path, listener: Listener) -> Reproduced:
    """Run the job of a record again, as it was recorded, and compare.

    Where the job file itself is no longer what it was, nothing is run. Raises RequestError for a record that cannot be
    read.
    """
    folder = RunFolder(run_dir)
    about, overrides = _record(folder)
    if begun := _mapping(about.get("began_with")):
        raise RequestError(
            f"{run_dir.name} began with {begun.get('checkpoint')} of {begun.get('run')}, not with a first step",
            hint=f"launcher reproduce {begun.get('run')}",
        )
    job_path = Path(str(about.get("job_path")))
    job = jobfile.contents(job_path) if job_path.is_file() else b""
    now, patch = provenance.gather(str(about.get("name")), folder.read_plan().spec.task.target, job, job_path)
    differing = list(_inputs(about, now))
    then_patch = folder.patch.read_text() if folder.patch.is_file() else ""
    differing += _field("git.patch", _digest(then_patch.encode()), _digest(patch.encode()))
    if about.get("job_sha256") != now["job_sha256"]:
        return Reproduced("NOT COMPARABLE", run_dir.name, None, None, tuple(differing))
    planned = launch.describe(job_path, overrides, runs_dir=runs_dir)["plan"]
    differing += _planned(folder.read_plan().to_json(), planned)
    record = launch.run(job_path, overrides, runs_dir=runs_dir, resume="never", detach=False, listener=listener)
    again = RunFolder(Path(record.run_dir))
    findings = tuple(comparison.compare(folder, again))
    step = comparison.diverged_at(folder, again)
    same = record.state == "SUCCEEDED" and all(finding.answer != "no" for finding in findings)
    verdict: Word = "BITWISE" if same else "NOT COMPARABLE" if differing else "DIVERGED"
    return Reproduced(verdict, run_dir.name, record.run_id, step, tuple(differing), findings)


def _record(folder: RunFolder) -> tuple[Mapping[str, Any], Sequence[str]]:
    try:
        overrides = json.loads(folder.overrides.read_bytes())
        about = readback.json_object(folder.record)
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder.path}: its record cannot be read ({error})") from error
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise RequestError(f"{folder.overrides}: not a list of --set options")
    return about, overrides


def _inputs(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Field]:
    """What the record tells of the code and the environment, against what is there now."""
    for name in ("job_path", "job_sha256", "platform"):
        yield from _field(name, then.get(name), now.get(name))
    for group, names in (("versions", None), ("target", None), ("git", ("commit", "dirty"))):
        before, after = (_mapping(each.get(group)) for each in (then, now))
        for name in names or sorted(before.keys() | after.keys()):
            yield from _field(f"{group}.{name}", before.get(name), after.get(name))


def _planned(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Field]:
    for name in ("nodes", "procs_per_node", "device", "precision", "threads", "env", "job_dir"):
        yield from _field(f"plan.{name}", then.get(name), now.get(name))


def _field(name: str, then: object, now: object) -> Iterator[Field]:
    if then != now:
        yield Field(name, str(then), str(now))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16] if content else "none"
