"""What the command line costs over `python -c "import click"`: interleaved runs, the processor's time, medians, spread.

    python tests/benchmarks/import_cost.py [--rounds 15] [--json FILE]

Judges nothing. The runs folder holds 1,000 runs, each hundredth without a verdict and with 500 events.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from tests.benchmarks import recorded

JOB = "name: mlp\ntask: {target: 'mlp.py:build'}\ntraining: {epochs: 3}\n"
LAUNCHER = [sys.executable, "-m", "launcher"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
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
        rows = report(measured(commands, options.rounds, f"{folder}/cache"))
    if options.json:
        recorded.write(options.json, 'What the command line costs over python -c "import click", processor time', rows)


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


def measured(commands: dict[str, list[str]], rounds: int, cache: str) -> dict[str, list[float]]:
    """Seconds of each command, one of each in every round, after a round that warms the caches."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": cache}  # compiled once, as where it is installed
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            before = processor_time_of_children()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            if turn:
                seconds[name].append(processor_time_of_children() - before)
    return seconds


def processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """The ratio is that of one round, so that both were made on a machine as busy."""
    rows = []
    base = next(iter(seconds.values()))
    for name, times in seconds.items():
        ratios = [mine / click for mine, click in zip(times, base, strict=True)]
        low, middle, high = (round(each, 2) for each in statistics.quantiles(ratios, n=4))
        milliseconds = round(1000 * statistics.median(times))
        rows.append({"command": name, "ms": milliseconds, "ratio": middle, "quartiles": [low, high]})
        print(f"{name:<30} {milliseconds:>5} ms {middle:>6.2f}× [{low:.2f}, {high:.2f}]", flush=True)
    return rows


if __name__ == "__main__":
    main()
