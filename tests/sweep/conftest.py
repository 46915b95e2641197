"""A job whose target takes `x` and `y`, a sweep over them, and trials that only pretend to train."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.sweep import folder, outcome, sweeping, trial
from tests.sweep import fake_worker

ROOT = Path(__file__).parents[2]
JOB = "name: toy\ntask: {target: toy.py:build}\ntraining: {steps: 5}\n"
SWEEP = """metric: score
trials: 6
seed: 7
space:
  task.args.x: {float: [0, 1]}
  task.args.y: {choice: [0, 1]}
"""


@dataclass
class Toy:
    """A folder with the files, and the runs beside them."""

    path: Path
    events: list[Mapping[str, Any]] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def sweep_dir(self) -> Path:
        (found,) = (self.runs / "sweeps").iterdir()
        return found

    def write(self, *, sweep: str = SWEEP, job: str = JOB) -> None:
        (self.path / "toy.py").write_text("def build(x=0.0, y=0): ...\n")
        (self.path / "job.yaml").write_text(job)
        (self.path / "sweep.yaml").write_text(sweep)

    def start(self, *settings: str) -> bool:
        files = self.path / "job.yaml", self.path / "sweep.yaml"
        return sweeping.start(*files, settings, runs_dir=self.runs, join=None, listener=self.events.append)

    def worker(self, what: str, *more: str, runs: str = "runs", **environ: str) -> subprocess.Popen[bytes]:
        """A worker in a process of its own, ended with the test."""
        words = [sys.executable, str(Path(__file__).with_name("fake_worker.py")), what, str(self.path / runs), *more]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        said = (self.path / "worker.log").open("a")
        self.workers.append(subprocess.Popen(words, env=environ, stdout=said, stderr=said))
        said.close()
        return self.workers[-1]

    def end(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()

    def rows(self, sweep_dir: Path | None = None) -> list[tuple[Any, ...]]:
        """What the trials were and what came of them, without where and by whom."""
        found = outcome.read(folder.opened(sweep_dir or self.sweep_dir))
        return [(row.number, row.state, row.value, dict(row.settings)) for row in found.rows]

    def run_dir(self, number: int) -> Path:
        return self.runs / folder.opened(self.sweep_dir).run_id(number)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Toy]]:
    """Makes a toy in a folder of its own."""
    monkeypatch.setattr(trial, "words", fake_worker.words)
    made: list[Toy] = []

    def make(name: str, sweep: str = SWEEP) -> Toy:
        made.append(Toy(tmp_path / name))
        made[-1].path.mkdir()
        made[-1].write(sweep=sweep)
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def toy(toys: Callable[..., Toy]) -> Toy:
    return toys("toy")
