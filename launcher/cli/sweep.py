"""`launcher sweep`: many trials of one job, and what came of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher import store
from launcher.cli import options, plot, trials
from launcher.cli.group import Group, unknown
from launcher.errors import nearest, printable
from launcher.sweep import folder
from launcher.sweep.storage import need

if TYPE_CHECKING:
    from launcher.sweep.folder import Sweep
    from launcher.sweep.outcome import Outcome

INTERRUPTED, ALL_FAILED = 130, 1
PATIENCE = 60.0
"""Seconds the workers of a sweep get to let their trials save and end, before they are asked again and then killed."""


class _Group(Group):
    """`launcher sweep SPEC --sweep FILE` begins a sweep, `launcher sweep status SWEEP` looks at one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            if "--sweep" not in args and nearest(args[0], self.commands):
                raise unknown(ctx, self, args[0])
            args = [start.name or "", *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["SPEC --sweep FILE [OPTIONS] | COMMAND SWEEP"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        start.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_Group, epilog="Example: launcher sweep jobs/mlp.yaml --sweep jobs/mlp_sweep.yaml")
def command() -> None:
    """Run the job of the file SPEC many times with settings from the space that FILE describes.

    Each trial is an ordinary run, named after its sweep. SWEEP is a sweep's id, the beginning of one, or latest.
    A sweep that was stopped or killed goes on with `launcher sweep resume SWEEP`, and makes the same trials.
    """


def _working(function: options.Command) -> options.Command:
    """How a worker is watched: --detach, --json, --runs-dir."""
    detach = click.option("--detach", is_flag=True, help="Let it work in the background and return at once.")
    return detach(options.as_json("Print what happens as JSON lines.")(options.runs_dir(function)))


@command.command(
    epilog="Example: launcher sweep start jobs/mlp.yaml --sweep jobs/mlp_sweep.yaml --set training.epochs=4"
)
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--sweep", "file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The sweep file.")
@options.settings("Set a key of the job file for all trials.")
@click.option("--join", metavar="SWEEP", help="Work on a sweep that was begun elsewhere, over the storage of both.")
@_working
def start(
    spec: Path,
    file: Path,
    settings: tuple[str, ...],
    join: str | None,
    detach: bool,
    as_json: bool,
    runs_dir: Path,
) -> int:
    """Begin a sweep, or join one, and work on it to its end: `launcher sweep SPEC` is short for this."""
    need("optuna", "a sweep")
    from launcher.sweep import sweeping

    told = trials.Told(as_json)
    done = sweeping.start(spec, file, settings, runs_dir=runs_dir, join=join, detach=detach, listener=told)
    return _end(told.folder or runs_dir, done, as_json)


@command.command(epilog="Example: launcher sweep resume latest")
@options.sweep_name
@_working
def resume(sweep: str, detach: bool, as_json: bool, runs_dir: Path) -> int:
    """Go on with SWEEP: with the trials in flight first, from their checkpoints; or help who works on it."""
    need("optuna", "a sweep")
    from launcher.sweep import sweeping

    found = folder.find(runs_dir, sweep)
    return _end(found, sweeping.resume(found, detach=detach, listener=trials.Told(as_json)), as_json)


@command.command("stop", epilog="Example: launcher sweep stop latest")
@options.sweep_name
@options.runs_dir
def stop_(sweep: str, runs_dir: Path) -> None:
    """Stop SWEEP: its trials save and end, and go on when it does."""
    need("optuna", "a sweep")
    from launcher.sweep import sweeping

    found = folder.find(runs_dir, sweep)
    elsewhere = sweeping.stop(found, timeout=PATIENCE)
    for worker in elsewhere:
        click.echo(f"still at it: a worker on {worker.host}; launcher sweep stop {found.name}, typed there, ends it")
    if not elsewhere:
        click.echo(f"{found.name} is stopped\ngo on: launcher sweep resume {found.name}{store.where(runs_dir)}")


@command.command("list", epilog="Example: launcher sweep list --json")
@options.as_json("Print the sweeps as one JSON array.")
@options.runs_dir
def list_(as_json: bool, runs_dir: Path) -> None:
    """List the sweeps, the newest last."""
    need("optuna", "a sweep")
    from launcher.sweep import listing

    rows = listing.read(runs_dir)
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], indent=2))
    elif not rows:
        click.echo(f"no sweeps in {runs_dir} yet; `launcher sweep SPEC --sweep FILE` makes one", err=True)
    else:
        click.echo("\n".join(trials.sweeps(rows)))


@command.command(epilog="Example: launcher sweep status latest")
@options.sweep_name
@options.as_json("Print the trials as one JSON object.")
@options.runs_dir
def status(sweep: str, as_json: bool, runs_dir: Path) -> None:
    """Show the trials of SWEEP, and the best so far."""
    opened, outcome = _read(runs_dir, sweep)
    if as_json:
        rows, best = [row.to_json() for row in outcome.rows], outcome.best
        click.echo(json.dumps({"id": opened.id, "best": best and best.number, "trials": rows}, indent=2))
        return
    counts = trials.states(outcome.counts())
    click.echo(f"{opened.id}: {opened.spec.mode} {printable(opened.spec.metric)} by {opened.spec.sampler} · {counts}")
    click.echo("\n".join(trials.trials(outcome.rows)))
    click.echo("\n".join(trials.best(opened, outcome.best)))


@command.command(epilog="Example: launcher sweep best latest --output jobs/mlp_best.yaml")
@options.sweep_name
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the job file that repeats it.")
@options.as_json("Print the trial as one JSON object.")
@options.runs_dir
def best(sweep: str, output: Path | None, as_json: bool, runs_dir: Path) -> None:
    """Show the best trial of SWEEP and the command that repeats it."""
    opened = _opened(runs_dir, sweep)
    from launcher.sweep import outcome

    row = outcome.needed_best(opened)
    if output is not None:
        outcome.write_job(opened, row, output)
    if as_json:
        click.echo(json.dumps({**row.to_json(), "command": outcome.command(opened, row)}, indent=2))
        return
    click.echo("\n".join(trials.best(opened, row)))
    click.echo(f"again: launcher run {output}" if output else f"again: {outcome.command(opened, row)}")


@command.command("plot", epilog="Example: launcher sweep plot latest")
@options.sweep_name
@options.runs_dir
def plot_(sweep: str, runs_dir: Path) -> None:
    """Draw the value of each trial of SWEEP, and the best so far, in the terminal; `launcher report` has it as HTML."""
    opened, outcome = _read(runs_dir, sweep)
    from launcher.sweep.outcome import curves

    drawn = list(plot.lines(curves(opened, outcome), width=shutil.get_terminal_size().columns))
    click.echo(
        "\n".join([f"{printable(opened.spec.metric)} by trial", *drawn] if drawn else ["no trial is complete yet"])
    )


def _opened(runs_dir: Path, sweep: str) -> Sweep:
    found = folder.find(runs_dir, sweep)
    need("optuna", "a sweep")
    return folder.opened(found)


def _read(runs_dir: Path, sweep: str) -> tuple[Sweep, Outcome]:
    opened = _opened(runs_dir, sweep)
    from launcher.sweep import outcome

    return opened, outcome.read(opened)


def _end(sweep_dir: Path, done: bool | None, as_json: bool) -> int:
    """The last words, and the exit code."""
    if done is None:
        if not as_json:
            click.echo("\n".join(_background(sweep_dir)))
        return 0
    from launcher.sweep import outcome

    opened = folder.opened(sweep_dir)
    found = outcome.read(opened)
    if as_json:
        click.echo(json.dumps({"event": "best", "best": found.best and found.best.to_json()}))
    else:
        click.echo("\n".join(trials.best(opened, found.best)))
    if not done:
        click.echo(f"go on: {opened.resume_command}", err=as_json)
        return INTERRUPTED
    return 0 if found.best else ALL_FAILED


def _background(sweep_dir: Path) -> Iterator[str]:
    name, where = sweep_dir.name, store.where(sweep_dir.parent.parent)
    yield f"{name} goes on in the background"
    yield f"look:   launcher sweep status {name}{where}"
    yield f"stop:   launcher sweep stop {name}{where}"
