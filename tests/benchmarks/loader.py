"""How long a step waits for its samples: at the start of an epoch, within it, and after a resume in its middle.

    python tests/benchmarks/loader.py [--steps 200]

Digits-sized data and an index of ten million samples, with 0 and 2 loader processes, in launcher's loader and in
torch's own (`DataLoader(shuffle=True)`, which has no way to resume). The first step includes making the loader and its
processes, once a run in launcher's, each epoch in torch's. Prints waits and what the processes came to hold of their
own; judges nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, Loader, TaskSpec, Training
from launcher.worker import timetable
from launcher.worker.batches import Stream, TrainingBatches

BATCH = 32
SIZES = {"digits": 1_797, "ten million": 10_000_000}
TARGET = "no step over 50 ms, memory the same for any index"
Begin = Callable[[], Iterator[Any]]


class Samples(Dataset[Tensor]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        return torch.full((64,), float(number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':44}{'first, ms':>12}{'longest, ms':>12}{'median, ms':>12}{'MB a worker':>14}   {TARGET}")
    for size, count in SIZES.items():
        for workers in (0, 2):
            places = {"launcher, start": 0, "launcher, mid-epoch": count // BATCH // 2}
            for name, begin in places.items():
                report(f"{size}, {workers} workers, {name}", launchers(count, workers, begin), options.steps)
            report(
                f"{size}, {workers} workers, torch, start",
                torchs(count, workers),
                min(options.steps, count // BATCH - 8),
            )


def launchers(count: int, workers: int, begin: int) -> Begin:
    def begun() -> Iterator[Any]:
        plan = plan_of(workers)
        batches = TrainingBatches(Samples(count), timetable.make(plan, count), 0, 0)
        stream = Stream(batches, batches.remaining(begin), plan, pin_memory=False)
        return iter(stream)

    return begun


def torchs(count: int, workers: int) -> Begin:
    def begun() -> Iterator[Any]:
        loader = DataLoader(Samples(count), BATCH, shuffle=True, drop_last=True, num_workers=workers)
        return iter(loader)

    return begun


def report(name: str, begun: Begin, steps: int) -> None:
    start = time.perf_counter()
    iterator: Any = begun()
    waits = []
    for _, _batch in zip(range(steps), iterator, strict=False):
        waits.append(1000 * (time.perf_counter() - start))
        start = time.perf_counter()
    held = [own_megabytes(worker.pid) for worker in getattr(iterator, "_workers", [])]
    memory = f"{max(held):14.1f}" if held else f"{'':14}"
    print(f"{name:44}{waits[0]:12.1f}{max(waits[1:]):12.1f}{statistics.median(waits):12.2f}{memory}", flush=True)
    if held:
        iterator._shutdown_workers()


def own_megabytes(process: int) -> float:
    """What a process shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def plan_of(workers: int) -> Plan:
    training = Training(steps=10**9, batch_size=BATCH)
    spec = JobSpec(
        name="loader", task=TaskSpec(target="unused.py:build"), training=training, loader=Loader(workers=workers)
    )
    folder = Path(tempfile.gettempdir())
    plan = make(spec, run_id="benchmark", run_dir=folder, job_dir=folder, machine=Machine(cores=1))
    return dataclasses.replace(plan, device="cpu", threads=1)


if __name__ == "__main__":
    main()
