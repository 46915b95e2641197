"""`launcher reproduce`: run a recorded run again and say whether the same came of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import click

from launcher import reproduce, store
from launcher.cli import options, progress
from launcher.cli.findings import lines
from launcher.errors import printable
from launcher.reproduce import Reproduced

MOST_SHOWN = 60
"""Characters of a differing value."""


@click.command(epilog="Example: launcher reproduce mlp-20261122T0219")
@options.run_name
@options.as_json("Print events as JSON lines, and the verdict as the last one.")
@options.runs_dir
def command(run: str, as_json: bool, runs_dir: Path) -> int:
    """Run the job of RUN again, as it was recorded, and compare the two step by step.

    RUN is a run id, the beginning of one, or latest. Exit codes: 0 BITWISE, 1 DIVERGED or NOT COMPARABLE.
    """
    run_dir = store.find(runs_dir, run)
    with progress.watched(as_json=as_json) as listener:
        done = reproduce.reproduce(run_dir, runs_dir=runs_dir, listener=listener)
    if as_json:
        click.echo(json.dumps({"event": "reproduced", **dataclasses.asdict(done)}))
    else:
        click.echo("\n".join(_told(done)))
    return 0 if done.verdict == "BITWISE" else 1


def _told(done: Reproduced) -> Iterator[str]:
    yield f"{'same inputs?':24} {'no' if done.differing else 'yes'}"
    for field in done.differing:
        yield f"  {field.name:22} {printable(field.then[:MOST_SHOWN])} → {printable(field.now[:MOST_SHOWN])}"
    yield from lines(done.findings)
    where = f" at step {done.step}" if done.step is not None else ""
    yield f"{done.verdict}{where} · {done.run}" + (f" · again {done.again}" if done.again else "")
    if done.again is None:
        yield "the job file is not what it was; the recorded one is job.yaml in the run's folder"
