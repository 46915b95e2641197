"""`launcher report`: a run, or a sweep, as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import report, store
from launcher.cli import files, options
from launcher.store import RunFolder
from launcher.sweep import folder
from launcher.sweep.storage import need


@click.command(epilog="Example: launcher report latest --output mlp.html")
@options.run_or_sweep_name
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="By default report.html in its folder.")
@click.option(
    "--parent",
    metavar="RUN",
    help="What to hold it against; by default the run it began with, or that of its name before.",
)
@options.runs_dir
def command(run: str, output: Path | None, parent: str | None, runs_dir: Path) -> None:
    """Write RUN's report: one file with curves, checkpoints, machines, failures and what differs from its parent.

    It holds everything it shows and asks nothing of the network. RUN is a run id, the beginning of one, or latest; of
    a SWEEP the report has its trials, their values and settings.
    """
    text, beside = _sweep(runs_dir, run, parent) or _run(runs_dir, run, parent)
    path = output or beside
    files.write(path, text, what="the report", option="--output")
    click.echo(path)


def _run(runs_dir: Path, name: str, parent: str | None) -> tuple[str, Path]:
    """The report's text, and where it belongs."""
    run_dir = store.find(runs_dir, name)
    text = report.of_run(run_dir, parent=store.find(runs_dir, parent) if parent else None)
    return text, RunFolder(run_dir).report


def _sweep(runs_dir: Path, name: str, parent: str | None) -> tuple[str, Path] | None:
    """The same of a sweep; None where the name may mean a run."""
    if any(run.startswith(name) for run in [*store.ids(runs_dir), "latest"]):
        return None
    if not any(sweep.startswith(name) for sweep in store.ids(runs_dir / store.SWEEPS)):
        return None
    found = folder.find(runs_dir, name)
    if parent:
        raise click.UsageError(f"--parent is what a run is held against, and {found.name} is a sweep")
    need("optuna", "a sweep")
    from launcher.sweep import page

    sweep = folder.opened(found)
    return page.of_sweep(sweep), sweep.report
