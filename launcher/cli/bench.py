"""`launcher bench`: how long a job's steps take, what of, and what would make them quicker."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from launcher import bench, timing
from launcher.cli import ending, figures, files, options
from launcher.cli.wording import sentences
from launcher.measuring import LEAST_WARM_UP, Request


@click.command(epilog="Example: launcher bench jobs/mlp.yaml --ablate --json figures.json")
@click.argument("words", metavar="SPEC|compare A B", nargs=-1, required=True)
@click.option(
    "--warmup",
    type=click.IntRange(min=LEAST_WARM_UP),
    default=10,
    show_default=True,
    help="Steps before those that are timed.",
)
@click.option("--steps", type=click.IntRange(min=2), default=50, show_default=True, help="Steps to time, in each run.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Whole runs of each variant.")
@click.option(
    "--synthetic", is_flag=True, help="Also with one batch again and again, which tells whether the data are slow."
)
@click.option("--ablate", is_flag=True, help="Also with each key that may make it quicker set otherwise.")
@options.settings()
@click.option(
    "--json",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the figures here, as JSON.",
)
@options.runs_dir
def command(
    words: tuple[str, ...],
    warmup: int,
    steps: int,
    rounds: int,
    synthetic: bool,
    ablate: bool,
    settings: tuple[str, ...],
    output: Path | None,
    runs_dir: Path,
) -> int:
    """Time the steps of the job that the file SPEC describes, phase by phase; or compare two FILEs of such figures.

    The job runs as `launcher run` runs it, for as many steps as are asked for, and leaves nothing behind but runs that
    failed. A key of --ablate that does not fit the job, or fails, is told in its row, and the others go on. Exit codes
    of compare: 1 where the steps of B are slower than those of A, 0 where they are not.
    """
    if words[0] == "compare":
        return _compare(words[1:])
    if len(words) > 1:
        raise click.UsageError(f"one job at a time: {words[1]} is one too many")
    if output is not None:
        files.check_writable(output)
    try:
        report = bench.bench(
            Path(words[0]),
            settings,
            Request(warmup=warmup, steps=steps, synthetic=synthetic),
            rounds=rounds,
            ablate=ablate,
            runs_dir=runs_dir,
            command=f"launcher {shlex.join(sys.argv[1:])}",
            say=lambda text: click.echo(text, err=True),
            listener=only_warnings,
        )
    except bench.Ended as ended:
        return ending.tell(ended.record, as_json=False, detached=False)
    click.echo("\n".join(figures.lines(report)))
    if output is not None:
        text = json.dumps(dataclasses.asdict(report), indent=1) + "\n"
        files.write(output, text, what="the figures", option="--json")
    return 0


def _compare(files: tuple[str, ...]) -> int:
    if len(files) != 2:
        raise click.UsageError("compare takes two files that --json wrote")
    before, after = (bench.read(Path(file)) for file in files)
    differences = timing.compare(before, after)
    click.echo("\n".join(figures.compared(differences, timing.not_alike(before, after))))
    return 1 if differences[0].verdict == "slower" else 0


def only_warnings(event: Mapping[str, Any]) -> None:
    if event.get("event") == "warning":
        for line in sentences(event):
            click.echo(line, err=True)
