"""`launcher runs`: a table of all runs, the newest last."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from launcher import store
from launcher.cli import options
from launcher.cli.wording import metrics, steps
from launcher.store import RunRecord

COLUMNS = ("RUN", "STATE", "STEP", "ATTEMPTS", "METRICS")
COLOURS = {"SUCCEEDED": "green", "FAILED": "red", "RUNNING": "cyan", "STOPPED": "yellow"}


@click.command(epilog="Example: launcher runs --json")
@options.as_json("Print the records as one JSON array.")
@options.runs_dir
def command(as_json: bool, runs_dir: Path) -> None:
    """List the runs, the newest last."""
    records = store.list_runs(runs_dir)
    if as_json:
        click.echo(json.dumps([record.to_json() for record in records], indent=2))
    elif not records:
        click.echo(f"no runs in {runs_dir} yet; `launcher run SPEC` makes one", err=True)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in _table([_row(record) for record in records], width):
            click.echo(line)


def _row(record: RunRecord) -> tuple[str, ...]:
    return record.run_id, record.state, steps(record.step, record.total_steps), str(record.attempts), metrics(record)


def _table(rows: list[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """Aligned lines; on a terminal as wide as it is, with the state in colour (click drops it elsewhere)."""
    widths = [max(len(cell) for cell in column) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        run, state, *others = (cell.ljust(wide) for cell, wide in zip(row, widths, strict=True))
        rest = "  ".join(others).rstrip()
        room = len(rest) if width is None else width - len(f"{run}  {state}  ")
        rest = rest if len(rest) <= room else rest[: max(0, room - 1)] + "…"
        yield f"{run}  {click.style(state, fg=COLOURS.get(row[1]))}  {rest}"
