"""`launcher report`: a run as one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher import contrast, history, store
from launcher.contrast import Row
from launcher.history import History
from launcher.report import ancestry
from launcher.report.page import Cells, facts, page, section, table
from launcher.report.picture import picture
from launcher.store import RunFolder, RunRecord


def of_run(run_dir: Path, *, parent: Path | None) -> str:
    """The page of a run, held against `parent`: by default the run it began with, or the one of its name before it.

    Raises RequestError for a run without a plan.
    """
    record, folder = store.record(run_dir), RunFolder(run_dir)
    told = history.read(folder)
    held_against = parent or ancestry.find(record)
    sections = [
        _summary(record, folder),
        _failure(record),
        section("Curves", "".join(picture(name, {name: points}) for name, points in told.curves.items())),
        section("Use of the machine", _use(told)),
        section("Checkpoints", table(("checkpoint", "step", "size", ""), _checkpoints(told))),
        section("What happened", table(("time", "event", ""), _events(told))),
        section("Environment", "".join(_nodes(told))),
        section("Settings", facts(_settings(folder))),
        _parent(folder, held_against),
    ]
    return page(f"{record.name} · {record.run_id}", sections)


def _summary(record: RunRecord, folder: RunFolder) -> str:
    total = f"/{record.total_steps}" if record.total_steps else ""
    begun = ancestry.beginning(folder)
    rows = [
        ("state", record.state),
        ("created", record.created),
        ("began with", f"{begun.checkpoint} of {begun.run}" if begun else ""),
        ("step", f"{record.step}{total}"),
        ("epoch", str(record.epoch)),
        ("attempts", str(record.attempts)),
        *((name, "not finite" if value is None else f"{value:.6g}") for name, value in record.metrics.items()),
        ("weights_sha256", record.weights_sha256 or ""),
        ("run folder", str(folder.path)),
    ]
    return facts((name, value) for name, value in rows if value)


def _failure(record: RunRecord) -> str:
    cause = record.root_cause
    if not cause:
        return ""
    known = ("rank", "host", "step", "type", "message", "hint", "log", "traceback")
    return section("Why it failed", facts((name, str(cause[name])) for name in known if cause.get(name) is not None))


def _use(told: History) -> str:
    by_quantity: dict[str, dict[str, history.Points]] = {}
    for name, points in told.use.items():
        rank, _, quantity = name.rpartition(": ")
        by_quantity.setdefault(quantity, {})[rank or "all"] = points
    return "".join(picture(quantity, series) for quantity, series in by_quantity.items())


def _checkpoints(told: History) -> Iterator[Cells]:
    for each in told.checkpoints:
        size = "damaged" if each.size is None else f"{each.size / 1e6:.2f} MB"
        yield each.name, str(each.step), size, "best" if each.protected else ""


def _events(told: History) -> Iterator[Cells]:
    for event in told.events:
        kind = str(event.get("event"))
        keys = ("attempt", "name", "state", "text", "resume_from")
        words = [f"{key} {event[key]}" if key == "attempt" else str(event[key]) for key in keys if event.get(key)]
        cause = event.get("cause")
        yield str(event.get("time", ""))[:19], kind, " · ".join([*words, *_message(cause)])


def _message(cause: object) -> list[str]:
    return [str(cause["message"]).splitlines()[0]] if isinstance(cause, dict) and cause.get("message") else []


def _nodes(told: History) -> Iterator[str]:
    for node in told.nodes:
        yield facts([(f"node {node.rank}", node.host), *node.about.items()])


def _settings(folder: RunFolder) -> Iterator[tuple[str, str]]:
    for row in contrast.rows([folder]):
        if row.part in ("job", "plan", "code") and row.values[0] != contrast.ABSENT:
            yield row.name, row.values[0]


def _parent(folder: RunFolder, before: Path | None) -> str:
    if before is None:
        return ""
    rows = contrast.rows([RunFolder(before), folder])
    return section(f"What differs from {before.name}", table(("", before.name, "this run"), _differing(rows)))


def _differing(rows: Sequence[Row]) -> Iterator[Cells]:
    for row in rows:
        if row.differs:
            yield row.name, *row.values
