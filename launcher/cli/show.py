"""`launcher show`: one run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher import store
from launcher.cli import ending, options


@click.command(epilog="Example: launcher show latest")
@options.run_name
@options.as_json("Print the record as JSON.")
@options.runs_dir
def command(run: str, as_json: bool, runs_dir: Path) -> None:
    """Show how far RUN came, how it ended, and why.

    RUN is a run id, the beginning of one, or latest.
    """
    record = store.record(store.find(runs_dir, run))
    click.echo(json.dumps(record.to_json(), indent=2) if as_json else ending.described(record))
