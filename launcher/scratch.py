"""A folder for the sockets of a node's ranks and their loader processes, gone when the attempt is.

A loader process hands a batch over through a socket in a folder that multiprocessing makes for it and removes at its
end, unless it is killed. So all of a node share one folder, which whoever ends them removes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "LAUNCHER_SCRATCH"
LONGEST = 108 - len("/listener-12345678") - 1
"""Bytes of its path: a socket's address takes 108, with the zero at its end."""


def made(run_dir: str, node_rank: int) -> dict[str, str]:
    """Make the folder, and name it to the ranks; they are named none where it cannot be."""
    path = _path(run_dir, node_rank)
    remove(run_dir, node_rank)  # a node program that was killed left its own
    if len(os.fsencode(path)) > LONGEST:
        return {VARIABLE: ""}
    try:
        path.mkdir(mode=0o700)
    except OSError:
        return {VARIABLE: ""}
    return {VARIABLE: str(path)}


def remove(run_dir: str, node_rank: int) -> None:
    """To be called when none of the node's ranks is left."""
    shutil.rmtree(_path(run_dir, node_rank), ignore_errors=True)


def _path(run_dir: str, node_rank: int) -> Path:
    key = hashlib.sha256(f"{run_dir} {node_rank}".encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir(), f"launcher-{key}")
