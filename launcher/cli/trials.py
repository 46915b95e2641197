"""The words and tables of a sweep's trials."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.progress import JsonLines, unheard
from launcher.cli.wording import clean_lines, number
from launcher.errors import counted, printable

if TYPE_CHECKING:
    from launcher.sweep.folder import Sweep
    from launcher.sweep.listing import SweepRow
    from launcher.sweep.outcome import TrialRow

TRIALS = ("TRIAL", "STATE", "VALUE", "STEP", "SETTINGS", "RUN")
SWEEPS = ("SWEEP", "STATE", "TRIALS", "BEST")


class Told:
    """What happens, told in words or as JSON lines."""

    def __init__(self, as_json: bool) -> None:
        self.folder: Path | None = None
        self._tell = unheard(JsonLines(sys.stdout) if as_json else self._words)

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "sweep":
            self.folder = Path(event["folder"])
        self._tell(event)

    def _words(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "sweep":
            click.echo(f"{event['id']}: {counted(event['trials'], 'trial')}\n  folder {event['folder']}")
        elif event["state"] == "running":
            click.echo(f"trial {event['trial']}: {settings(event['settings'])} · {event['run_id']}")
        else:
            click.echo(f"trial {event['trial']} {event['state']}: {_how(event)}")


def _how(event: Mapping[str, Any]) -> str:
    if event.get("reason"):
        return clean_lines(str(event["reason"]))[0]
    at = f" at step {event['step']}" if event.get("step") else ""
    return f"{number(event['value'])}{at}"


def best(sweep: Sweep, row: TrialRow | None) -> Iterator[str]:
    if row is None:
        yield "best: no trial is complete"
        return
    yield f"best: trial {row.number} · {printable(sweep.spec.metric)} {number(row.value, 6)} · {row.run_id}"
    yield f"      {settings(row.settings)}"


def settings(settings: Mapping[str, Any]) -> str:
    return " · ".join(f"{printable(key)} {number(value)}" for key, value in settings.items())


def trials(rows: Sequence[TrialRow]) -> Iterator[str]:
    return _table(TRIALS, map(_trial, rows))


def sweeps(rows: Sequence[SweepRow]) -> Iterator[str]:
    return _table(SWEEPS, map(_sweep, rows))


def states(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count} {state}" for state, count in counts.items())


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    cells = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()


def _trial(row: TrialRow) -> tuple[str, ...]:
    value = "" if row.value is None else number(row.value)
    step = "" if row.step is None else str(row.step)
    told = clean_lines(row.reason)[0] if row.reason else settings(row.settings)
    return str(row.number), row.state, value, step, told, row.run_id or ""


def _sweep(row: SweepRow) -> tuple[str, ...]:
    best = row.best
    told = f"{printable(best['metric'])} {number(best['value'], 6)} in trial {best['trial']}" if best else ""
    return row.id, row.state, clean_lines(row.reason)[0] if row.reason else states(row.trials), told
