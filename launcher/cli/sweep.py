"""`launcher sweep`: many trials of one job, and what came of them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import options, plot
from launcher.cli.progress import JsonLines, unheard
from launcher.cli.wording import clean_lines, number
from launcher.errors import counted, printable
from launcher.sweep import folder
from launcher.sweep.storage import need

if TYPE_CHECKING:
    from launcher.sweep.folder import Sweep
    from launcher.sweep.outcome import Outcome, TrialRow

INTERRUPTED, ALL_FAILED = 130, 1
COLUMNS = ("TRIAL", "STATE", "VALUE", "STEP", "SETTINGS", "RUN")


class _Group(click.Group):
    """`launcher sweep SPEC --sweep FILE` begins a sweep, `launcher sweep status SWEEP` looks at one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
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


@command.command(
    epilog="Example: launcher sweep start jobs/mlp.yaml --sweep jobs/mlp_sweep.yaml --set training.epochs=4"
)
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--sweep", "file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The sweep file.")
@options.settings("Set a key of the job file for all trials.")
@click.option("--join", metavar="SWEEP", help="Work on a sweep that was begun elsewhere, over the storage of both.")
@options.as_json("Print what happens as JSON lines.")
@options.runs_dir
def start(spec: Path, file: Path, settings: tuple[str, ...], join: str | None, as_json: bool, runs_dir: Path) -> int:
    """Begin a sweep, or join one, and work on it to its end: `launcher sweep SPEC` is short for this."""
    need("optuna", "a sweep")
    from launcher.sweep import sweeping

    listener = _Told(as_json)
    done = sweeping.start(spec, file, settings, runs_dir=runs_dir, join=join, listener=listener)
    return _end(listener.folder or runs_dir, done, as_json)


@command.command(epilog="Example: launcher sweep resume latest")
@options.sweep_name
@options.as_json("Print what happens as JSON lines.")
@options.runs_dir
def resume(sweep: str, as_json: bool, runs_dir: Path) -> int:
    """Go on with SWEEP: with the trials in flight first, from their checkpoints; or help who works on it."""
    need("optuna", "a sweep")
    from launcher.sweep import sweeping

    found = folder.find(runs_dir, sweep)
    return _end(found, sweeping.resume(found, listener=_Told(as_json)), as_json)


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
    counts = " · ".join(f"{count} {state}" for state, count in outcome.counts().items())
    click.echo(f"{opened.id}: {opened.spec.mode} {printable(opened.spec.metric)} by {opened.spec.sampler} · {counts}")
    click.echo("\n".join(_table(outcome.rows)))
    click.echo("\n".join(_best(opened, outcome.best)))


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
    click.echo("\n".join(_best(opened, row)))
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


class _Told:
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
            click.echo(f"trial {event['trial']}: {_settings(event['settings'])} · {event['run_id']}")
        else:
            click.echo(f"trial {event['trial']} {event['state']}: {_how(event)}")


def _how(event: Mapping[str, Any]) -> str:
    if event.get("reason"):
        return clean_lines(str(event["reason"]))[0]
    at = f" at step {event['step']}" if event.get("step") else ""
    return f"{number(event['value'])}{at}"


def _opened(runs_dir: Path, sweep: str) -> Sweep:
    found = folder.find(runs_dir, sweep)
    need("optuna", "a sweep")
    return folder.opened(found)


def _read(runs_dir: Path, sweep: str) -> tuple[Sweep, Outcome]:
    opened = _opened(runs_dir, sweep)
    from launcher.sweep import outcome

    return opened, outcome.read(opened)


def _end(sweep_dir: Path, done: bool, as_json: bool) -> int:
    """The last words, and the exit code."""
    from launcher.sweep import outcome

    opened = folder.opened(sweep_dir)
    found = outcome.read(opened)
    if as_json:
        click.echo(json.dumps({"event": "best", "best": found.best and found.best.to_json()}))
    else:
        click.echo("\n".join(_best(opened, found.best)))
    if not done:
        click.echo(f"go on: {opened.resume_command}", err=as_json)
        return INTERRUPTED
    return 0 if found.best else ALL_FAILED


def _best(sweep: Sweep, row: TrialRow | None) -> Iterator[str]:
    if row is None:
        yield "best: no trial is complete"
        return
    yield f"best: trial {row.number} · {printable(sweep.spec.metric)} {number(row.value, 6)} · {row.run_id}"
    yield f"      {_settings(row.settings)}"


def _settings(settings: Mapping[str, Any]) -> str:
    return " · ".join(f"{printable(key)} {number(value)}" for key, value in settings.items())


def _table(rows: Sequence[TrialRow]) -> Iterator[str]:
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()


def _cells(row: TrialRow) -> tuple[str, ...]:
    value = "" if row.value is None else number(row.value)
    step = "" if row.step is None else str(row.step)
    told = clean_lines(row.reason)[0] if row.reason else _settings(row.settings)
    return str(row.number), row.state, value, step, told, row.run_id or ""
