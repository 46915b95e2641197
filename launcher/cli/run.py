"""`launcher run`: start a job and watch it to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from launcher import launch
from launcher.cli import ending, options, progress


@click.command(epilog="Example: launcher run jobs/mlp.yaml --nodes 2 --set training.seed=2")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--nodes", metavar="N", help="How many nodes, or a range; short for --set resources.nodes=N.")
@click.option("--procs-per-node", metavar="N", help="Processes on each; short for --set resources.procs_per_node=N.")
@click.option("--backend", metavar="NAME", help="Where to run; short for --set backend=NAME.")
@click.option("--hosts", metavar="A,B,…", help="Run on these machines by ssh; short for ssh.hosts, backend and nodes.")
@click.option(
    "--preflight", metavar="MODE", help="What to refuse: off, warn, fail or strict; short for preflight=MODE."
)
@options.settings()
@click.option("--resume", metavar="RUN|auto|never", help="Go on with a run; auto: with this job's newest unfinished.")
@click.option("--from", "source", metavar="RUN", help="Begin a new run with RUN's newest checkpoint, whatever its job.")
@click.option("--dry-run", is_flag=True, help="Print the plan and the commands, and start nothing.")
@options.watching
def command(
    spec: Path,
    nodes: str | None,
    procs_per_node: str | None,
    backend: str | None,
    hosts: str | None,
    preflight: str | None,
    settings: tuple[str, ...],
    resume: str | None,
    source: str | None,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    runs_dir: Path,
) -> int:
    """Start the job that the file SPEC describes and watch it to its end.

    Exit codes: 0 done, 1 the job failed, 2 wrong request, 3 the environment is unfit, 130 interrupted.
    """
    short: dict[str, Any] = {}
    if hosts is not None:
        names = [name.strip() for name in hosts.split(",")]
        short = {"ssh.hosts": json.dumps(names), "backend": "ssh", "resources.nodes": len(names)}
    chosen = {
        "resources.nodes": nodes,
        "resources.procs_per_node": procs_per_node,
        "backend": backend,
        "preflight": preflight,
    }
    short |= {key: value for key, value in chosen.items() if value is not None}
    overrides = [*settings, *(f"{key}={value}" for key, value in short.items())]
    if dry_run:
        if detach or as_json:
            raise click.UsageError("--dry-run starts nothing, so it goes with neither --detach nor --json")
        ending.tell_plan(launch.describe(spec, overrides, runs_dir=runs_dir))
        return 0
    if source is not None and resume is not None:
        raise click.UsageError("--resume goes on with a run and --from begins a new one: give one of them")
    with progress.watched(as_json=as_json) as listener:
        record = launch.run(
            spec, overrides, runs_dir=runs_dir, resume=resume, source=source, detach=detach, listener=listener
        )
    return ending.tell(record, as_json=as_json, detached=detach)
