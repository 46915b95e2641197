"""From the command to the first finished optimizer step, over `torchrun --standalone` with the hand-written script.

    python tests/benchmarks/start.py [rounds]

Both train the same network; a hook on the optimizer notes the clock after the first step. One of each in every round,
after a round that warms the caches; prints the ratio of the medians with its quartiles, and judges nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

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


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "by_hand.py").write_text(BY_HAND)
        (Path(folder) / "task.py").write_text(TASK)
        (Path(folder) / "job.yaml").write_text(JOB)
        print(f"command to first finished step, {rounds} rounds")
        for processes in (1, 2):
            threads = str(max(1, len(os.sched_getaffinity(0)) // processes))
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            launcher = [sys.executable, "-P", "-m", "launcher", "run", "job.yaml", f"--procs-per-node={processes}"]
            seconds: dict[str, list[float]] = {"torchrun": [], "launcher": []}
            for turn in range(rounds + 1):
                for name, argv in (("torchrun", [*torchrun, "by_hand.py"]), ("launcher", launcher)):
                    taken = first_step(argv, folder, threads)
                    if turn:
                        seconds[name].append(taken)
            ratios = [ours / theirs for ours, theirs in zip(seconds["launcher"], seconds["torchrun"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            by_hand, ours = (statistics.median(seconds[name]) for name in ("torchrun", "launcher"))
            print(
                f"1 × {processes}: torchrun {by_hand:.2f} s, launcher {ours:.2f} s,"
                f" ratio {middle:.2f} (quartiles {low:.2f}–{high:.2f})"
            )


def first_step(argv: list[str], folder: str, threads: str) -> float:
    noted = Path(folder) / "first-step"
    noted.unlink(missing_ok=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "FIRST_STEP": str(noted)}
    began = time.time()
    subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True)
    return float(noted.read_text()) - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
