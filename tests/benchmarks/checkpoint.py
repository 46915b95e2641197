"""What a checkpoint costs over what a user would write instead: interleaved rounds, medians of ratios, spread.

    python tests/benchmarks/checkpoint.py [--megabytes 20 100 1000] [--rounds 5] [--threads 2] ...

For each size of state (model and Adam's two moments): the stall of the training, the time until the checkpoint is
durable (ours: read back and verified too), the processor time of both, which a busy machine blurs least, the training
time lost in all while it is written, the time to load it again (weights into the live model, the optimizer's tensors
into memory of their own), and the memory added. Prints tables; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
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

    def __init__(self, folder: Path) -> None:
        spec = JobSpec(name="bench", task=TaskSpec(target="a.py:build"), training=Training(steps=1))
        machine = plan.Machine(cores=os.cpu_count() or 1)
        self.checkpoints = Checkpoints(
            plan.make(spec, run_id="bench", run_dir=folder, job_dir=folder, machine=machine), 0
        )

    def save(self, step: int, state: State) -> Wait:
        self.checkpoints.save(step, epoch=0, model=state["model"], training=state["optimizer"])
        return self.checkpoints.wait

    def load(self, step: int, live: State) -> None:
        self.checkpoints.load_into(f"step-{step:08d}", live["model"])


class TorchSave:
    name = "torch.save + fsync"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.pt"

    def save(self, step: int, state: State) -> Wait:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)
        return lambda: None

    def load(self, step: int, live: State) -> None:
        stored = torch.load(self.path, weights_only=True)
        for key, tensor in live["model"].items():
            tensor.copy_(stored["model"][key])


class DcpAsync:
    name = "dcp.async_save"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: State) -> Wait:
        future: Any = dcp.async_save(state, checkpoint_id=self.folder / "state", no_dist=True)
        return future.result

    def load(self, step: int, live: State) -> None:
        dcp.load(live, checkpoint_id=self.folder / "state", no_dist=True)


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

    def load(self, step: int, live: State) -> None:
        for part, tensors in self.copy.items():
            for key, tensor in tensors.items():
                live[part][key].copy_(tensor)


METHODS = [Ours, TorchSave, DcpAsync, Memcpy]
MEASURES = ["stall", "durable", "cpu", "lost", "load", "load cpu"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="that the training uses")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary one")
    parser.add_argument("--json", type=Path, help="write the raw seconds here")
    options = parser.parse_args()
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
    state, live = state_of(megabytes), state_of(megabytes)
    seconds: dict[str, dict[str, list[float]]] = {}
    methods = []
    for make in METHODS:
        (folder / make.__name__).mkdir()
        methods.append(make(folder / make.__name__))
        seconds[make.name] = {measure: [] for measure in [*MEASURES, "memory"]}
    for turn in range(rounds + 1):
        for method in methods:
            for measure, value in once(method, 2 * turn + 1, state, live).items():
                if turn > 0:
                    seconds[method.name][measure].append(value)
    return seconds


def once(method: Any, step: int, state: State, live: State) -> dict[str, float]:
    before = resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")
    start, start_cpu = time.perf_counter(), time.process_time()
    wait = method.save(step, state)
    seconds = {"stall": time.perf_counter() - start}
    wait()
    seconds["durable"] = time.perf_counter() - start
    seconds["cpu"] = time.process_time() - start_cpu
    seconds["memory"] = resident(peak=True) - before
    start, start_cpu = time.perf_counter(), time.process_time()
    method.load(step, live)
    seconds["load"] = time.perf_counter() - start
    seconds["load cpu"] = time.process_time() - start_cpu
    seconds["lost"] = lost_time(method, step + 1, state, at_least=2 * seconds["durable"])
    return seconds


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
            print(f"launcher over {name}, {measure}: {middle:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")


def _pairs(seconds: dict[str, dict[str, list[float]]], name: str, measure: str) -> list[list[float]]:
    return [seconds["launcher"][measure], seconds[name][measure]]


if __name__ == "__main__":
    main()
