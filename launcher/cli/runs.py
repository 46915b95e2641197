"""`launcher runs`: a table of all runs, the newest last."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from launcher import store
from launcher.cli import options
from launcher.cli.wording import metrics, steps
from launcher.store import RunRecord

COLUMNS = ("RUN", "STATE", "STEP", "ATTEMPTS", "METRICS")
COLOURS = {"SUCCEEDED": "green", "FAILED": "red", "RUNNING": "cyan", "STOPPED": "yellow"}


@click.command()
@options.as_json("Print the records as one JSON array.")
@options.runs_dir
def command(as_json: bool, runs_dir: Path) -> None:
    """List the runs, the newest last."""
    records = store.list_runs(runs_dir)
    if as_json:
        click.echo(json.dumps([record.to_json() for record in records], indent=2))
    elif not records:
        click.echo(f"no runs in {runs_dir} yet; `launcher run SPEC` makes one", err=True)
    elif sys.stdout.isatty():
        _coloured([_row(record) for record in records])
    else:
        _plain([_row(record) for record in records])


def _row(record: RunRecord) -> tuple[str, ...]:
    return record.run_id, record.state, steps(record.step, record.total_steps), str(record.attempts), metrics(record)


def _coloured(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, no_wrap=name != "METRICS", overflow="fold")
    for run, state, *others in rows:
        table.add_row(Text(run), Text(state, style=COLOURS.get(state, "")), *(Text(other) for other in others))
    Console().print(table)


def _plain(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
