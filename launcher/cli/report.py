"""`launcher report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import report, store
from launcher.cli import options
from launcher.errors import RequestError
from launcher.store import RunFolder


@click.command(epilog="Example: launcher report latest --output mlp.html")
@options.run_name
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="By default report.html in its folder.")
@click.option(
    "--parent",
    metavar="RUN",
    help="What to hold it against; by default the run it began with, or that of its name before.",
)
@options.runs_dir
def command(run: str, output: Path | None, parent: str | None, runs_dir: Path) -> None:
    """Write RUN's report: one file with curves, checkpoints, machines, failures and what differs from its parent.

    It holds everything it shows and asks nothing of the network. RUN is a run id, the beginning of one, or latest.
    """
    run_dir = store.find(runs_dir, run)
    text = report.of_run(run_dir, parent=store.find(runs_dir, parent) if parent else None)
    path = output or RunFolder(run_dir).report
    try:
        store.write_whole(path, text)
    except OSError as error:
        raise RequestError(
            f"{path}: the report cannot be written ({error.strerror})", hint="--output FILE puts it elsewhere"
        ) from error
    click.echo(path)
