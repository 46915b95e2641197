"""`launcher schema`: the JSON Schema of job files."""

from __future__ import annotations

import json

import click

from launcher import jobfile


@click.command(epilog="Example: launcher schema > job.schema.json")
def command() -> None:
    """Print the JSON Schema of job files, for the completion and checks of an editor."""
    click.echo(json.dumps(jobfile.schema(), indent=2))
