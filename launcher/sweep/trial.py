"""The program of one trial: takes its share of the machine and watches over its run; dies with the sweep that began it.

python -m launcher.sweep.trial RUN_DIR PARENT GPUS CORES
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import launch, processes, waiting
from launcher.errors import LauncherError
from launcher.store import RunFolder
from launcher.sweep import devices
from launcher.sweep.devices import Share

NO_SHARE = "-"


def main(run_dir: Path, parent: int, share: Share | None) -> int:
    processes.die_with_parent(parent)
    try:
        if share is not None:
            devices.take(share, run_dir)
        waiting.until(
            lambda: RunFolder(run_dir).holder() is None, math.inf
        )  # somebody may have gone on with it by hand
        record = launch.rejoin(run_dir, listener=_unheard)
    except LauncherError as error:
        print(f"{error.message}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return record.exit_code or 0


def words(run_dir: Path, parent: int, share: Share | None) -> list[str]:
    """What to call this program with."""
    given = [str(share.gpus), str(share.cores)] if share else [NO_SHARE, NO_SHARE]
    return [sys.executable, "-P", "-m", "launcher.sweep.trial", str(run_dir), str(parent), *given]


def _unheard(_event: Mapping[str, Any]) -> None:
    """The run's folder is what the sweep reads."""


if __name__ == "__main__":
    _, where, of, gpus, cores = sys.argv
    sys.exit(main(Path(where), int(of), None if gpus == NO_SHARE else Share(gpus=int(gpus), cores=int(cores))))
