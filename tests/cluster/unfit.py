"""Faults that a machine has before a run begins, planted on the second one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.lab import NODES, Lab

SKEWED = "import time; real = time.time_ns; time.time_ns = lambda: real() + 20 * 10**9\n"


@dataclass(frozen=True)
class Unfit:
    planted: Callable[[Lab, Path, str], AbstractContextManager[tuple[str, ...]]]
    """Given a folder for files of its own and the backend; the settings of the job that meets it."""
    only_on: tuple[str, ...] = ("ssh", "slurm")


@contextmanager
def another_torch(lab: Lab, folder: Path, backend: str) -> Iterator[tuple[str, ...]]:
    (folder / "first" / "torch-2.12.0.dist-info").mkdir(parents=True)
    (folder / "first" / "torch-2.12.0.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.12.0\n")
    with python_of_b(lab, folder / "first") as python:
        yield (f"{backend}.python={python}",)


@contextmanager
def clock_off(lab: Lab, folder: Path, backend: str) -> Iterator[tuple[str, ...]]:
    (folder / "first").mkdir()
    (folder / "first" / "sitecustomize.py").write_text(SKEWED)
    with python_of_b(lab, folder / "first") as python:
        yield (f"{backend}.python={python}",)


@contextmanager
def ports_shut(lab: Lab, _folder: Path, _backend: str) -> Iterator[tuple[str, ...]]:
    lab.shut("node-b")
    try:
        yield ()
    finally:
        lab.unshut("node-b")


@contextmanager
def disk_full(lab: Lab, _folder: Path, _backend: str) -> Iterator[tuple[str, ...]]:
    lab.ssh("node-b", "mkdir -p ~/.launcher && mount -t tmpfs -o size=1m none ~/.launcher")
    try:
        yield ("ssh.sync=rsync",)
    finally:
        lab.ssh("node-b", "umount ~/.launcher")


@contextmanager
def python_of_b(lab: Lab, first: Path) -> Iterator[str]:
    """Gives node b a Python that looks into a folder first; both nodes have one of that name."""
    for node in NODES:
        path = f"env PYTHONPATH={first}:$PYTHONPATH" if node == "node-b" else ""
        lab.ssh(node, f"printf '#!/bin/sh\nexec {path} {sys.executable} \"$@\"' > {lab.local}/python")
        lab.ssh(node, f"chmod +x {lab.local}/python")
    try:
        yield f"{lab.local}/python"
    finally:
        for node in NODES:
            lab.ssh(node, f"rm {lab.local}/python")


UNFIT = {
    "another torch on one node": Unfit(another_torch),
    "clock off by 20 s": Unfit(clock_off),
    "ports shut on one node": Unfit(ports_shut, only_on=("ssh", "slurm", "docker on hosts")),
    "full disk on one node": Unfit(disk_full, only_on=("ssh",)),
}
