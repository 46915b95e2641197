"""Containers as the table of faults sees them: an image with the stand-in for a worker, runs in it, what is left."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import ROOT, Run

PACKAGES = "/opt/venv/lib/python3.11/site-packages"
DOCKERFILE = f"FROM launcher:cpu\nUSER 0\nRUN rm -rf {PACKAGES}/launcher {PACKAGES}/envcheck\nCOPY . {PACKAGES}\n"


def docker(*words: str) -> str:
    """What the command prints; nothing where it fails, as for a container that has just ended."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120).stdout.strip()


@pytest.fixture(scope="session")
def image(torchless: Path) -> Iterator[str]:
    """This launcher with the stand-in in its image, by digest."""
    (torchless / "Dockerfile").write_text(DOCKERFILE)
    digest = docker("build", "--quiet", str(torchless))
    (torchless / "Dockerfile").unlink()
    (torchless / "images").symlink_to(ROOT / "images")  # what the backend reads on this machine
    if not digest:
        pytest.skip("needs a container engine, and `launcher images build cpu`")
    yield digest
    docker("rmi", digest)


@pytest.fixture
def contain(image: str, torchless: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs in containers; whatever is left of them afterwards is removed."""
    runs: list[Run] = []

    def begin(*settings: str, **given: Any) -> Run:
        runs.append(Run(tmp_path, torchless, "backend=docker", f"image={image}", *settings, **given))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.wait()
        for name in containers(run):
            docker("rm", "--force", name)


def left_in(run: Run, node: int | None = None) -> list[str]:
    """`node pid: words` of every process in the run's containers, by their pids on this machine."""
    found = []
    for name in containers(run):
        if node is None or name.endswith(f"-{node}"):
            lines = re.findall(r"^ *(\d+) (.*)$", docker("top", name, "-eo", "pid,args"), re.MULTILINE)
            found += [f"node-{'ab'[int(name[-1])]} {pid}: {words}" for pid, words in lines]
    return found


def containers(run: Run) -> list[str]:
    return docker("ps", "--filter", f"label=launcher.run={run.record.run_id}", "--format", "{{.Names}}").split()
