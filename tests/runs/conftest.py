"""Real runs: the command in a process of its own, real signals, and a look at what is left behind."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher import processes, waiting

ROOT = Path(__file__).parents[2]
JOB = Path(__file__).with_name("trial.yaml")
PATIENCE = 120.0


@dataclass
class Ended:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Bench:
    """A runs folder and the command that works on it."""

    runs_dir: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "LAUNCHER_RUNS_DIR": str(self.runs_dir), **self.environ}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "launcher", *argv],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *argv: str) -> Ended:
        return ended(self.start(*argv))

    def run(self, *options: str) -> Ended:
        return self.call("run", str(JOB), *options)

    def show(self, run: str = "latest") -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.call("show", run, "--json").stdout)
        return shown

    def folder(self) -> Path:
        """The newest run's."""
        return max(self.runs_dir.iterdir(), key=lambda path: path.stat().st_ctime)

    def left_behind(self) -> list[str]:
        """The processes of all runs here, by /proc."""
        runs = [path.name for path in self.runs_dir.iterdir()]
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [f"{pid} {_command(pid)}" for pid in pids if any(processes.marked(pid, run) for run in runs)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "runs")
    yield bench
    if bench.runs_dir.exists():
        assert until(lambda: not bench.left_behind(), 10), bench.left_behind()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One run that nothing happened to; every disturbed run must end like it, on however many nodes its ranks are."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed") / "runs", {"CANARY": secrets.token_hex(16)})
    done = bench.run("--nodes", "2", "--procs-per-node", "1")
    assert done.exit_code == 0, done.stderr
    return bench


def ended(process: subprocess.Popen[str], patience: float = PATIENCE) -> Ended:
    try:
        stdout, stderr = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"no end within {patience} s:\n{stdout}\n{stderr}") from None
    return Ended(process.returncode, stdout, stderr)


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> bool:
    return waiting.until(condition, patience)


def saved(bench: Bench, step: int) -> Callable[[], bool]:
    """Whether the newest run has saved this step (or has replaced it by later ones)."""

    def look() -> bool:
        if not bench.runs_dir.exists() or not any(bench.runs_dir.iterdir()):
            return False
        return any(int(path.name[5:]) >= step for path in bench.folder().glob("checkpoints/step-*"))

    return look


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "?"
