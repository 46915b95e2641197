"""From the command to the first finished optimizer step, over `torchrun --standalone` with the hand-written script.

    python tests/benchmarks/start.py [--rounds 5] [--json FILE]

Both train the same network; a hook on the optimizer notes the clock after the first step. One of each in every round,
after a round that warms the caches; prints the median of the ratios with their quartiles, and judges nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from tests.benchmarks import recorded

MODEL = """
import os, time, torch
from torch.utils.data import DataLoader, TensorDataset

def parts():
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(256, 64), torch.randint(10, (256,)))
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters())
    def note(*_):
        if os.environ["RANK"] == "0" and not os.path.exists(os.environ["FIRST_STEP"]):
            with open(os.environ["FIRST_STEP"], "w") as file: file.write(str(time.time()))
    optimizer.register_step_post_hook(note)
    return model, optimizer, data

def loss_of(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
"""

BY_HAND = (
    MODEL
    + """
import torch.distributed as dist
model, optimizer, data = parts()
world = int(os.environ["WORLD_SIZE"])
if world > 1:
    dist.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(model)
for batch in DataLoader(data, batch_size=32 // world):
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    optimizer.step()
if world > 1: dist.destroy_process_group()
"""
)

TASK = (
    MODEL
    + """
from launcher import Task

def build():
    model, optimizer, data = parts()
    return Task(model=model, optimizer=optimizer, data=data, loss=loss_of)
"""
)

JOB = "name: start\ntask: {target: 'task.py:build'}\ntraining: {steps: 8, batch_size: 32}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "by_hand.py").write_text(BY_HAND)
        (Path(folder) / "task.py").write_text(TASK)
        (Path(folder) / "job.yaml").write_text(JOB)
        rows = [compared(processes, folder, options.rounds) for processes in (1, 2)]
    if options.json:
        recorded.write(options.json, "From the command to the first finished step, over torchrun --standalone", rows)


def compared(processes: int, folder: str, rounds: int) -> dict[str, Any]:
    """Both in turn; which one goes first changes each round."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // processes))
    ways = {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "by_hand.py"],
        "launcher": ["-P", "-m", "launcher", "run", "job.yaml", f"--procs-per-node={processes}"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            taken = first_step([sys.executable, *ways[name]], folder, threads)
            if turn:
                seconds[name].append(taken)
    ratios = [ours / theirs for ours, theirs in zip(seconds["launcher"], seconds["torchrun"], strict=True)]
    low, middle, high = (round(each, 2) for each in statistics.quantiles(ratios, n=4))
    by_hand, ours = (round(statistics.median(seconds[name]), 2) for name in ways)
    print(
        f"1 × {processes}: torchrun {by_hand} s, launcher {ours} s, ratio {middle} (quartiles {low}–{high})", flush=True
    )
    times = {"torchrun, s": by_hand, "launcher, s": ours}
    return {"nodes × processes": f"1 × {processes}", **times, "ratio": middle, "quartiles": [low, high]}


def first_step(argv: list[str], folder: str, threads: str) -> float:
    noted = Path(folder) / "first-step"
    noted.unlink(missing_ok=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "FIRST_STEP": str(noted)}
    began = time.time()
    subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True)
    return float(noted.read_text()) - began


if __name__ == "__main__":
    main()
