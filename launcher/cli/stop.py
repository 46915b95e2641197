"""`launcher stop`: end a run that is under way."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import stopping, store
from launcher.cli import ending, options

PATIENCE = 60.0
"""Seconds a run gets to reach the next step boundary, save and end before it is killed."""


@click.command(epilog="Example: launcher stop latest")
@options.run_name
@options.runs_dir
def command(run: str, runs_dir: Path) -> int:
    """Stop RUN; it saves a checkpoint at the next step boundary first.

    RUN is a run id, the beginning of one, or latest.
    """
    return ending.tell_stopped(stopping.stop(store.find(runs_dir, run), timeout=PATIENCE))
