"""`launcher resume`: go on with a run from its newest verified checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import launch, store
from launcher.cli import ending, options, progress


@click.command(epilog="Example: launcher resume latest --detach")
@options.run_name
@options.watching
def command(run: str, detach: bool, as_json: bool, runs_dir: Path) -> int:
    """Go on with RUN from its newest verified checkpoint and watch it to its end.

    RUN is a run id, the beginning of one, or latest.
    """
    run_dir = store.find(runs_dir, run)
    with progress.watched(as_json=as_json) as listener:
        record = launch.resume(run_dir, detach=detach, listener=listener)
    return ending.tell(record, as_json=as_json, detached=detach)
