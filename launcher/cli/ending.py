"""The last words of a command: what came of a run, and on failure first of all why."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from launcher import store
from launcher.cli import boundary
from launcher.cli.traceback import own_frames
from launcher.cli.wording import clean_lines, metrics, steps
from launcher.store import RunRecord

MOST_LINES = 12


def tell(record: RunRecord, *, as_json: bool, detached: bool) -> int:
    """Print what came of a run: the cause of a failure on stderr, the rest on stdout. Returns the exit code."""
    with contextlib.suppress(OSError):  # nobody reads any more; the exit code must still come through
        if record.root_cause and not detached:
            boundary.tell("\n".join(_cause(record, record.root_cause)))
        if as_json:
            click.echo(json.dumps({"event": "record", **record.to_json()}))
        elif detached:
            click.echo("\n".join(_background(record)))
        else:
            click.echo("\n".join(_summary(record)))
    return 0 if detached else record.exit_code or 0


def tell_stopped(record: RunRecord) -> int:
    """Print how a run ended that was asked to stop. Returns the exit code."""
    click.echo("\n".join(_summary(record)))
    if record.state != "FAILED":
        return 0
    click.echo(f"go on: {_resume(record)}")  # it was stuck and had to be killed, or failed before it could save
    return 1


def tell_plan(described: Mapping[str, Any]) -> None:
    """Print what would run, as YAML; a command that is handed the plan refers to it by an alias."""
    import yaml

    plan = described["plan"]
    commands = [
        {**command, "stdin": {**command["stdin"], "plan": plan}} if _is_given(command, plan) else command
        for command in described["commands"]
    ]
    whole = {**described, "commands": commands}
    click.echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=1000), nl=False)


def _is_given(command: Mapping[str, Any], plan: Any) -> bool:
    return bool(command.get("stdin", {}).get("plan") == plan)


def described(record: RunRecord) -> str:
    """A run in full, for reading."""
    rows = {
        "run": record.run_id,
        "state": record.state,
        "created": record.created,
        "step": steps(record.step, record.total_steps),
        "epoch": str(record.epoch),
        "attempts": str(record.attempts),
        "processes": _processes(record),
        "metrics": metrics(record),
        "checkpoint": record.checkpoint or "",
        "weights_sha256": record.weights_sha256 or "",
        "run folder": record.run_dir,
    }
    lines = [f"{key:<15} {value}" for key, value in rows.items() if value]
    if record.root_cause:
        lines += ["", *_cause(record, record.root_cause)]
    return "\n".join(clean for line in lines for clean in clean_lines(line))


def _cause(record: RunRecord, cause: Mapping[str, Any]) -> Iterator[str]:
    """The root cause: who, what, where in the user's code, the log, the remedy and how to go on."""
    who = [f"rank {cause['rank']}"] if cause.get("rank") is not None else []
    where = [f"on {cause['host']}"] if cause.get("host") else []
    at = [f"at step {cause['step']}"] if cause.get("step") else []
    first, *more = clean_lines(str(cause.get("message") or "no message"))
    error = f"{cause['type']}: {first}" if cause.get("type") else first
    yield f"{' '.join([*(who or ['the run']), *where])} failed{''.join(' ' + part for part in at)}: {error}"
    yield from (f"  {line}" for line in more[:MOST_LINES])
    yield from (f"  {line}" for line in own_frames(str(cause.get("traceback") or "")))
    hint = str(cause.get("hint") or "")
    hint = "" if hint.startswith("launcher resume") else hint  # said below, with the folder it needs
    hopeless = cause.get("kind") == "request" and record.checkpoint is None  # it would fail in the same way again
    rows = {
        "class": f"{cause['class']}: {cause.get('class_reason')}" if cause.get("class") else "",
        "retry": f"not tried again: {cause['not_retried']}" if cause.get("not_retried") else "",
        "log": cause.get("log"),
        "hint": hint,
        "go on": "" if hopeless else _resume(record),
    }
    for key, value in rows.items():
        if value:
            yield f"  {key + ':':<6} {value}"


def _summary(record: RunRecord) -> Iterator[str]:
    parts = [record.state, record.run_id, f"step {steps(record.step, record.total_steps)}", metrics(record)]
    yield " · ".join(part for part in parts if part)
    if record.weights_sha256:
        yield f"weights_sha256 {record.weights_sha256}"
    if processes := _processes(record):
        yield f"processes {processes}"
    yield f"run folder {record.run_dir}"
    if record.state == "STOPPED":
        yield f"go on: {_resume(record)}"


def _processes(record: RunRecord) -> str:
    """How many each attempt had, where their number changed: what that means for the bits."""
    if len(set(record.world_sizes)) < 2:
        return ""
    return f"{', then '.join(map(str, record.world_sizes))}: the bits are not those of one number throughout"


def _background(record: RunRecord) -> Iterator[str]:
    where = _where(record)
    yield f"{record.run_id} runs in the background"
    yield f"follow: launcher logs {record.run_id} --follow{where}"
    yield f"stop:   launcher stop {record.run_id}{where}"


def _resume(record: RunRecord) -> str:
    return f"launcher resume {record.run_id}{_where(record)}"


def _where(record: RunRecord) -> str:
    """The option that finds the run again, where the default does not."""
    return store.where(Path(record.run_dir).parent)
