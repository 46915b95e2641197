"""`launcher validate`: check a job file without starting anything."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import jobfile, target


@click.command(epilog="Example: launcher validate jobs/mlp.yaml")
@click.argument("spec", type=click.Path(path_type=Path))
def command(spec: Path) -> None:
    """Check the job file SPEC and the target it names; all faults are listed, each with its line."""
    job = jobfile.load(spec)
    target.check(job.task, spec)
    click.echo(f"{spec} is valid: {job.name} trains {job.task.target} ({job.task.kind}) on the {job.backend} backend")
