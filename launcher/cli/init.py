"""`launcher init`: a small project that runs."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from launcher import starter
from launcher.spec import TaskKind


@click.command(epilog="Example: launcher init moons --kind lightning")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(get_args(TaskKind)),
    default="native",
    show_default=True,
    help="Who owns the training loop.",
)
def command(folder: Path, kind: str) -> None:
    """Make a small project in DIR: a job file, what it trains, a test, and a Dockerfile above launcher's image.

    Nothing is asked; DIR must be empty or not there yet.
    """
    for path in starter.make(folder, kind):
        click.echo(path)
    click.echo(f"next: launcher run {folder / 'job.yaml'}")
