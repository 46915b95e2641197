"""What the command line costs over `python -c "import click"`: interleaved runs, medians, spread.

    python tests/benchmarks/import_cost.py [rounds]

Prints a table; judges nothing. The runs folder holds 1,000 runs, each hundredth without a verdict and with 500 events.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
JOB = "name: mlp\ntask: {target: 'mlp.py:build'}\ntraining: {epochs: 3}\n"
LAUNCHER = [sys.executable, "-m", "launcher"]


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder, "mlp.yaml")
        job.write_text(JOB)
        job.with_suffix(".py").write_text("def build(): ...\n")
        runs = Path(folder, "runs")
        make_runs(runs, 1000)
        commands = {
            'python -c "import click"': [sys.executable, "-c", "import click"],
            "launcher --help": [*LAUNCHER, "--help"],
            "launcher validate": [*LAUNCHER, "validate", str(job)],
            "launcher runs (1,000)": [*LAUNCHER, "runs", "--runs-dir", str(runs)],
            "launcher show latest (1,000)": [*LAUNCHER, "show", "latest", "--runs-dir", str(runs)],
        }
        report(measured(commands, rounds))


def make_runs(runs: Path, count: int) -> None:
    for number in range(count):
        run_id = f"mlp-20260801T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-{number:04x}"
        folder = runs / run_id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps({"name": "mlp", "created": "2026-08-01T00:00:00+00:00"}))
        if number % 100:
            metrics = {"loss": 0.1, "accuracy": 0.97}
            verdict = {"state": "SUCCEEDED", "step": 300, "attempts": 1, "metrics": metrics, "exit_code": 0}
            (folder / "result.json").write_text(json.dumps(verdict))
        else:
            event = {"event": "progress", "rank": 0, "step": 1, "epoch": 0, "loss": 0.5, "total_steps": 500}
            (folder / "events.jsonl").write_text(500 * (json.dumps(event) + "\n"))


def measured(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, one of each in every round, after a round that warms the caches."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    base = statistics.median(next(iter(seconds.values())))
    print(f"{'command':<30} {'median':>8} {'ratio':>7} {'quartiles':>17}")
    for name, times in seconds.items():
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"{name:<30} {middle * 1e3:>5.0f} ms {middle / base:>6.2f}× {low * 1e3:>6.0f} – {high * 1e3:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
