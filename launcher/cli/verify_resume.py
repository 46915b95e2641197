"""`launcher verify-resume`: whether a job ends with the same bits when it is killed and resumed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from launcher import verify
from launcher.cli import options, progress
from launcher.cli.findings import lines


@click.command(epilog="Example: launcher verify-resume jobs/mlp.yaml --kills 3")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--kills", type=click.IntRange(1, 100), default=2, show_default=True, help="How often to kill it.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments and victims.")
@options.settings()
@options.as_json("Print events as JSON lines, and the verdict as the last one.")
@options.runs_dir
def command(spec: Path, kills: int, seed: int, settings: tuple[str, ...], as_json: bool, runs_dir: Path) -> int:
    """Run the job that the file SPEC describes twice, once undisturbed and once killed and resumed, and compare.

    Exit codes: 0 the same bits, 1 not the same, or the job failed by itself.
    """
    with progress.watched(as_json=as_json) as listener:
        verified = verify.verify_resume(spec, settings, kills=kills, seed=seed, runs_dir=runs_dir, listener=listener)
    if as_json:
        click.echo(json.dumps({"event": "verified", "same": verified.same, **dataclasses.asdict(verified)}))
    else:
        click.echo("\n".join(lines(verified.findings)))
        at = ", ".join(map(str, verified.resumed_at)) or "none"
        click.echo(f"undisturbed {verified.undisturbed} · killed {verified.killed} · resumed at step {at}")
        click.echo("BITWISE" if verified.same else f"NOT THE SAME: {verified.diagnosis or 'see above'}")
    return 0 if verified.same else 1
