"""How long a step waits for its samples: at the start of an epoch, within it, and after a resume in its middle.

    python tests/benchmarks/loader.py [--steps 200] [--json FILE]

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
from tests.benchmarks import recorded

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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(TARGET)
    rows = []
    for size, count in SIZES.items():
        for workers in (0, 2):
            for name, begin, steps in loaders(count, workers, options.steps):
                rows.append({"samples": size, "workers": workers, "loader": name, **waits(begin, steps)})
                print("   ".join(f"{head} {value}" for head, value in rows[-1].items()), flush=True)
    if options.json:
        recorded.write(options.json, "How long a step waits for its samples", rows)


def loaders(count: int, workers: int, steps: int) -> Iterator[tuple[str, Begin, int]]:
    """Each with as many of the steps as it has."""
    yield "launcher, start", launchers(count, workers, 0), steps
    yield "launcher, mid-epoch", launchers(count, workers, count // BATCH // 2), steps
    yield "torch, start", torchs(count, workers), min(steps, count // BATCH - 8)


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


def waits(begun: Begin, steps: int) -> dict[str, Any]:
    start = time.perf_counter()
    iterator: Any = begun()
    waited = []
    for _, _batch in zip(range(steps), iterator, strict=False):
        waited.append(1000 * (time.perf_counter() - start))
        start = time.perf_counter()
    held = [own_megabytes(worker.pid) for worker in getattr(iterator, "_workers", [])]
    if held:
        iterator._shutdown_workers()
    first, longest, median = (round(each, 2) for each in (waited[0], max(waited[1:]), statistics.median(waited)))
    memory = round(max(held), 1) if held else ""
    return {"first, ms": first, "longest after it, ms": longest, "median, ms": median, "MB a worker": memory}


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
