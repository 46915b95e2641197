"""What a checkpoint costs over what a user would write instead: interleaved rounds, medians of ratios, spread.

    python tests/benchmarks/checkpoint.py [--megabytes 20 100 1000] [--rounds 5] [--threads 2] ...

For each size of state (model and Adam's two moments): the stall of the training, the time until the checkpoint is
durable (ours: read back and verified too), the processor time of both, which a busy machine blurs least, the training
time lost in all while it is written, the time to load it again from the system's cache in a new process, as a resume
does once the launcher has chosen the checkpoint (ours: verified, the weights put into the live model, the optimizer's
tensors into memory of their own; torch's: `torch.load` alone), and the memory added. Prints tables and each target
beside its figure; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from launcher import plan
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.worker.checkpoint import Checkpoints

State = dict[str, dict[str, Tensor]]
Wait = Callable[[], object]


class Ours:
    name = "launcher"

    def __init__(self, folder: Path, rank: int = 0) -> None:
        spec = JobSpec(name="bench", task=TaskSpec(target="a.py:build"), training=Training(steps=1))
        machine = plan.Machine(cores=os.cpu_count() or 1)
        self.folder = folder
        self.checkpoints = Checkpoints(
            plan.make(spec, run_id="bench", run_dir=folder, job_dir=folder, machine=machine), rank
        )

    def save(self, step: int, state: State) -> Wait:
        self.checkpoints.save(step, epoch=0, model=state["model"], training=state["optimizer"])
        return self.checkpoints.wait

    @classmethod
    def load(cls, folder: Path, step: int, live: State) -> None:
        """As a rank that only reads."""
        cls(folder, rank=1).checkpoints.load_into(f"step-{step:08d}", live["model"])


class TorchSave:
    name = "torch.save + fsync"

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "state.pt"

    def save(self, step: int, state: State) -> Wait:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)
        return lambda: None

    @classmethod
    def load(cls, folder: Path, step: int, live: State) -> None:
        torch.load(cls(folder).path, weights_only=True)


class DcpAsync:
    name = "dcp.async_save"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: State) -> Wait:
        future: Any = dcp.async_save(state, checkpoint_id=self.folder / "state", no_dist=True)
        return future.result

    @classmethod
    def load(cls, folder: Path, step: int, live: State) -> None:
        dcp.load(live, checkpoint_id=folder / "state", no_dist=True)


class Memcpy:
    """The floor: one copy into memory that is there already, written nowhere."""

    name = "one memcpy"

    def __init__(self, folder: Path) -> None:
        self.copy: State = {}

    def save(self, step: int, state: State) -> Wait:
        if not self.copy:
            self.copy = {part: {key: value.clone() for key, value in state[part].items()} for part in state}
        for part, tensors in state.items():
            for key, tensor in tensors.items():
                self.copy[part][key].copy_(tensor)
        return lambda: None


METHODS: list[Any] = [Ours, TorchSave, DcpAsync, Memcpy]
MEASURES = ["stall", "durable", "cpu", "lost", "load", "load cpu"]
TARGETS = {
    ("torch.save + fsync", "stall"): 0.15,
    ("torch.save + fsync", "load"): 0.4,
    ("torch.save + fsync", "load cpu"): 0.4,
    ("dcp.async_save", "stall"): 0.8,
    ("one memcpy", "lost"): 1.2,
}
"""The ratio that is aimed at, over which method and of what. And of memory: the state and a fifth."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="that the training uses")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary one")
    parser.add_argument("--json", type=Path, help="write the raw seconds here")
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(*options.load, options.megabytes[0])
        return
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {platform.release()}")
    results = {}
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results[megabytes] = measured(Path(folder), megabytes, options.rounds)
        report(megabytes, results[megabytes])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def measured(folder: Path, megabytes: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds (memory: bytes) of each method and measure, one of each in every round, after one that warms up."""
    state = state_of(megabytes)
    seconds: dict[str, dict[str, list[float]]] = {}
    methods = []
    for make in METHODS:
        (folder / make.__name__).mkdir()
        methods.append(make(folder / make.__name__))
        seconds[make.name] = {measure: [] for measure in [*MEASURES, "memory"]}
    for turn in range(rounds + 1):
        for method in methods:
            for measure, value in once(method, 2 * turn + 1, state, megabytes).items():
                if turn > 0:
                    seconds[method.name][measure].append(value)
    return seconds


def once(method: Any, step: int, state: State, megabytes: int) -> dict[str, float]:
    before = resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")
    start, start_cpu = time.perf_counter(), time.process_time()
    wait = method.save(step, state)
    seconds = {"stall": time.perf_counter() - start}
    wait()
    seconds["durable"] = time.perf_counter() - start
    seconds["cpu"] = time.process_time() - start_cpu
    seconds["memory"] = resident(peak=True) - before
    seconds |= loaded(method, step, megabytes)
    seconds["lost"] = lost_time(method, step + 1, state, at_least=2 * seconds["durable"])
    return seconds


def loaded(method: Any, step: int, megabytes: int) -> dict[str, float]:
    """In a process of its own: much of the time goes for memory that the process does not have yet."""
    if not hasattr(method, "load"):
        return {"load": math.nan, "load cpu": math.nan}
    for path in method.folder.rglob("*"):
        if path.is_file():
            shutil.copyfile(path, os.devnull)
    command = [sys.executable, __file__, "--load", type(method).__name__, str(method.folder), str(step)]
    told = subprocess.run([*command, "--megabytes", str(megabytes)], check=True, capture_output=True).stdout
    return dict(zip(("load", "load cpu"), map(float, told.split()), strict=True))


def load(method: str, folder: str, step: str, megabytes: int) -> None:
    (made,) = (each for each in METHODS if each.__name__ == method)
    live = state_of(megabytes)
    for spare in live["optimizer"] if made is not DcpAsync else ():
        live["optimizer"][spare] = torch.empty(0)
    start, start_cpu = time.perf_counter(), time.process_time()
    made.load(Path(folder), int(step), live)
    print(time.perf_counter() - start, time.process_time() - start_cpu)


def lost_time(method: Any, step: int, state: State, *, at_least: float) -> float:
    """How much longer a stretch of training takes when a checkpoint is saved at its start."""
    matrix = torch.ones(256, 256)

    def train(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            torch.mm(matrix, matrix)
        return time.perf_counter() - start

    steps = max(1, int(100 * max(at_least, 0.2) / train(100)))
    without = train(steps)
    start = time.perf_counter()
    wait = method.save(step, state)
    train(steps)
    together = time.perf_counter() - start
    wait()
    return together - without


def state_of(megabytes: int) -> State:
    """Weights and two moments for each, in 12 layers."""
    size = megabytes * 1_000_000 // (3 * 12 * 4)
    model = {f"layers.{index}.weight": torch.randn(size) for index in range(12)}
    moments = {f"{key}.{moment}": torch.randn(size) for key in model for moment in ("exp_avg", "exp_avg_sq")}
    return {"model": model, "optimizer": moments}


def resident(*, peak: bool) -> int:
    field = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def report(megabytes: int, seconds: dict[str, dict[str, list[float]]]) -> None:
    print(f"\n{megabytes} MB of state, free on the disk: {shutil.disk_usage(tempfile.gettempdir()).free >> 30} GiB")
    print(f"{'':20}" + "".join(f"{measure + ', ms':>14}" for measure in MEASURES) + f"{'memory, MB':>14}")
    for name, measures in seconds.items():
        cells = [f"{1000 * statistics.median(measures[measure]):14.0f}" for measure in MEASURES]
        print(f"{name:20}" + "".join(cells) + f"{statistics.median(measures['memory']) / 1e6:14.0f}")
    for name in list(seconds)[1:]:
        for measure in MEASURES:
            ratios = sorted(ours / theirs for ours, theirs in zip(*_pairs(seconds, name, measure), strict=True))
            middle = statistics.median(ratios)
            target = f"   at most {TARGETS[name, measure]}" if (name, measure) in TARGETS else ""
            if not math.isnan(middle):
                print(f"launcher over {name}, {measure}: {middle:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}){target}")
    added = statistics.median(seconds["launcher"]["memory"]) / (megabytes * 1e6)
    print(f"memory added while saving, over the state: {added:.2f}   at most 1.2")


def _pairs(seconds: dict[str, dict[str, list[float]]], name: str, measure: str) -> list[list[float]]:
    return [seconds["launcher"][measure], seconds[name][measure]]


if __name__ == "__main__":
    main()
