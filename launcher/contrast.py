"""Several runs side by side: job, code, environment and outcome, and in which of it they differ."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from launcher import history, plan, readback, store
from launcher.store import RunFolder

ABSENT = "—"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing of all the runs."""

    part: str
    """job, plan, code, environment or outcome."""
    name: str
    values: tuple[str, ...]
    """In the order of the runs; `—` where a run has none."""

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def rows(folders: Sequence[RunFolder]) -> list[Row]:
    """Everything that is recorded of the runs, part by part. Raises RequestError for a run without a plan."""
    told = [dict(_told(folder)) for folder in folders]
    keys = dict.fromkeys(key for each in told for key in each)
    found = [Row(part=part, name=name, values=_values(told, (part, name))) for part, name in keys]
    return sorted(found, key=lambda row: PARTS.index(row.part))


PARTS = ("job", "plan", "code", "environment", "outcome")


def _values(told: Sequence[dict[tuple[str, str], object]], key: tuple[str, str]) -> tuple[str, ...]:
    return tuple(_text(each[key]) if key in each else ABSENT for each in told)


def _told(folder: RunFolder) -> Iterator[tuple[tuple[str, str], object]]:
    decided = folder.read_plan()
    for name, value in plan.flat(dataclasses.asdict(decided.spec)).items():
        yield ("job", name), value
    for name in ("nodes", "procs_per_node", "device", "precision", "threads", "job_dir"):
        yield ("plan", name), getattr(decided, name)
    yield from _recorded(folder)
    for node in history.nodes(folder):
        for name, value in {"host": node.host, **node.about}.items():
            yield ("environment", f"node {node.rank}: {name}"), value
    record = store.record(folder.path)
    for name in ("state", "step", "epoch", "attempts", "checkpoint", "weights_sha256"):
        yield ("outcome", name), getattr(record, name)
    for name, value in record.metrics.items():
        yield ("outcome", name), value


def _recorded(folder: RunFolder) -> Iterator[tuple[tuple[str, str], object]]:
    about = readback.json_object_or_none(folder.record) or {}
    git: Any = about.get("git") or {}
    yield ("code", "job_sha256"), about.get("job_sha256")
    for name in ("commit", "branch"):
        yield ("code", f"git.{name}"), git.get(name)
    patch = folder.patch.read_bytes() if folder.patch.is_file() else b""
    yield ("code", "git.patch"), hashlib.sha256(patch).hexdigest()[:16] if patch else None
    yield ("environment", "platform"), about.get("platform")
    for name, value in (about.get("versions") or {}).items():
        yield ("environment", name), value


def _text(value: object) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
