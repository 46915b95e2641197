"""`launcher top`: what runs now, rank by rank."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from launcher import history, store
from launcher.cli import options
from launcher.cli.wording import number, steps
from launcher.store import RunFolder, RunRecord

FIRST, REST = "\x1b[H", "\x1b[J"
"""To the first line; clear what is below."""


@click.command(epilog="Example: launcher top --once")
@click.option("--once", is_flag=True, help="Print it once and end, as where the output is no terminal.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it is shown anew.",
)
@options.as_json("Print it once, as one JSON array.")
@options.runs_dir
def command(once: bool, every: float, as_json: bool, runs_dir: Path) -> None:
    """Show the runs that are under way: step and loss, and each rank's rate, memory and use of its GPU.

    Ctrl-C ends it; it touches no run.
    """
    if as_json:
        click.echo(json.dumps([{**record.to_json(), "ranks": ranks} for record, ranks in _running(runs_dir)], indent=2))
    elif once or not sys.stdout.isatty():
        click.echo("\n".join(_lines(runs_dir)))
    else:
        while True:
            click.echo(FIRST + "\n".join(f"{line}\x1b[K" for line in _lines(runs_dir)) + REST)
            time.sleep(every)


def _running(runs_dir: Path) -> Iterator[tuple[RunRecord, Mapping[str, Any]]]:
    for record in store.list_runs(runs_dir):
        if record.state == "RUNNING":
            yield record, history.newest_use(RunFolder(Path(record.run_dir)))


def _lines(runs_dir: Path) -> Iterator[str]:
    empty = True
    for record, ranks in _running(runs_dir):
        empty = False
        attempt = f" · attempt {record.attempts}" if record.attempts > 1 else ""
        checkpoint = f" · {record.checkpoint}" if record.checkpoint else ""
        yield f"{record.run_id}  step {steps(record.step, record.total_steps)}{attempt}{checkpoint}"
        for rank, use in ranks.items():
            yield f"  rank {rank:<4}" + " · ".join(_used(use))
    if empty:
        yield f"nothing runs in {runs_dir}"


def _used(use: Mapping[str, Any]) -> Iterator[str]:
    for key, words in _WORDS.items():
        value = use.get(key)
        if isinstance(value, int | float):
            yield words(value)


_WORDS: Mapping[str, Callable[[float], str]] = {
    "steps_per_second": lambda rate: f"{number(rate, 3)} steps/s",
    "memory": lambda size: f"{size / 1e6:,.0f} MB",
    "gpu_memory": lambda size: f"GPU {size / 1e6:,.0f} MB",
    "gpu_busy": lambda share: f"GPU {share:.0%} busy",
}
