"""What a checkpoint costs over what a user would write instead: interleaved rounds, medians of ratios, spread.

    python tests/benchmarks/checkpoint.py [--megabytes 20 100 1000] [--rounds 5] [--threads 2] [--json FILE]

For each size of state (model and Adam's two moments):

- stall: what the training waits for. With `overlap: all` that is the call, and what the optimizer's step still has to
  wait for after a stand-in for a forward and backward pass that takes as long as four copies of the state.
- lost: how much longer a stretch of training takes when a checkpoint is saved at its start and written beside it.
- durable, cpu: the time until it is on the disk (launcher's: read back and verified too), the processor's time for all
  of that, which a busy machine blurs least.
- load: from the system's cache in a new process, as a resume does once the launcher has chosen the checkpoint
  (launcher's: verified, the weights put into the live model, the moments into memory of their own; torch's:
  `torch.load` alone). load live: the same, of a state that is all weights, so that there is memory for all of it.
- memory: what the process grows by at its peak.

Prints medians, and ratios with each target beside; judges nothing.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from launcher.manifest import digest_of
from tests.benchmarks import recorded
from tests.benchmarks.savers import METHODS, DcpAsync, Launcher, Memcpy, Overlapped, Saving, State

Seconds = dict[str, dict[str, list[float]]]
"""Of each method and measure (memory: bytes), one for every round."""

MEASURES = ("stall", "lost", "durable", "cpu", "load", "load cpu", "load live", "load live cpu")
LAUNCHER, OVERLAPPED, SAVE, MEMCPY = Launcher.name, Overlapped.name, "torch.save + fsync", Memcpy.name
TARGETS: tuple[tuple[str, str, str, float], ...] = (
    (LAUNCHER, "stall", SAVE, 0.15),
    (OVERLAPPED, "stall", SAVE, 0.05),
    (LAUNCHER, "stall", "Lightning", 0.06),
    (LAUNCHER, "stall", DcpAsync.name, 0.8),
    (LAUNCHER, "stall", MEMCPY, math.nan),
    (LAUNCHER, "lost", MEMCPY, 1.2),
    (OVERLAPPED, "lost", MEMCPY, 1.2),
    (LAUNCHER, "lost", SAVE, math.nan),
    (LAUNCHER, "lost", "Lightning", math.nan),
    (LAUNCHER, "lost", DcpAsync.name, math.nan),
    (LAUNCHER, "cpu", MEMCPY, math.nan),
    (LAUNCHER, "load", SAVE, 0.4),
    (LAUNCHER, "load cpu", SAVE, 0.4),
    (LAUNCHER, "load live", SAVE, 0.4),
    (LAUNCHER, "load live cpu", SAVE, 0.4),
)
"""What of whose, over whose, and the ratio that is aimed at, if there is one. And of memory: the state and a fifth."""
PASS = 4.0
"""A forward and backward pass, in copies of the state."""
SELDOM = 2
"""Of so many rounds one also loads, and trains beside a save."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="that the training uses")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary one")
    parser.add_argument("--lost", action="store_true", help="measure that too; on a busy machine it says nothing")
    parser.add_argument("--json", type=Path, help="write the ratios here")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(*options.load, options.megabytes[0])
        return
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {platform.release()}")
    found = []
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            seconds = measured(Path(folder), megabytes, options.rounds, lost=options.lost)
        rows = list(ratios(megabytes, seconds))
        report(megabytes, seconds, rows)
        found += rows
    if options.json:
        sizes = " and ".join(map(str, options.megabytes))
        recorded.write(
            options.json, f"Saving and loading {sizes} MB of state over what a user would write instead", found
        )


def measured(folder: Path, megabytes: int, rounds: int, *, lost: bool) -> Seconds:
    """One of each in every round, after one that warms up; of the memory the first, which takes it."""
    state = state_of(megabytes)
    methods = []
    for make in METHODS:
        (folder / make.__name__).mkdir()
        methods.append(make(folder / make.__name__, state))
    seconds: Seconds = {each.name: {measure: [] for measure in [*MEASURES, "memory"]} for each in methods}
    copied = 0.0
    for turn in range(rounds + 1):
        for method in methods:
            step = 3 * turn + 1
            values = saved(method, step, state, copied)
            copied = values["stall"] if isinstance(method, Memcpy) else copied
            if turn % SELDOM == 1:
                values |= loaded(method, step, megabytes) if method.loads else {}
            if turn % SELDOM == 1 and lost:
                values["lost"] = lost_time(method, step + 1, state, at_least=1.5 * values["durable"], copied=copied)
            for measure, value in values.items():
                if (measure == "memory") == (turn == 0):
                    seconds[method.name][measure].append(value)
    return seconds


def saved(method: Any, step: int, state: State, copied: float) -> dict[str, float]:
    seconds = {}
    before = resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")
    start, start_cpu = time.perf_counter(), time.process_time()
    saving = method.save(step, state)
    seconds["stall"] = time.perf_counter() - start
    if isinstance(method, Overlapped):
        train_for(PASS * copied)
        seconds["stall"] += step_wait(saving)
    saving.wait()
    seconds |= {"durable": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}
    seconds["memory"] = resident(peak=True) - before
    return seconds


def loaded(method: Any, step: int, megabytes: int) -> dict[str, float]:
    """In a process of its own: much of the time goes for memory that the process does not have yet."""
    found = load_apart(method, step, megabytes, "load")
    if isinstance(method, Launcher):
        state = state_of(megabytes)
        method.save(step + 2, {"model": {**state["model"], **state["optimizer"]}, "optimizer": {}}).wait()
        del state
        return found | load_apart(method, step + 2, megabytes, "load live")
    return found | {"load live": found["load"], "load live cpu": found["load cpu"]}


def load_apart(method: Any, step: int, megabytes: int, what: str) -> dict[str, float]:
    for path in method.folder.rglob("*"):
        if path.is_file():
            digest_of(path)  # it is in the system's cache then, as when the launcher has verified it
    command = [sys.executable, __file__, "--load", type(method).__name__]
    command += [str(method.folder), str(step), what, "--megabytes", str(megabytes)]
    seconds, processor = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
    return {what: seconds, f"{what} cpu": processor}


def load(method: str, folder: str, step: str, what: str, megabytes: int) -> None:
    (made,) = (each for each in METHODS if each.__name__ == method)
    state = state_of(megabytes)
    if what == "load live":
        state["model"] |= state["optimizer"]
    for spare in state["optimizer"] if made is not DcpAsync else ():
        state["optimizer"][spare] = torch.empty(0)
    restore = made.loader(Path(folder), int(step), state)
    start, start_cpu = time.perf_counter(), time.process_time()
    restore()
    print(time.perf_counter() - start, time.process_time() - start_cpu)


def lost_time(method: Any, step: int, state: State, *, at_least: float, copied: float) -> float:
    """How much longer a stretch of training takes when a checkpoint is saved at its start."""
    stretch = max(at_least, 0.2)
    steps = max(2, int(100 * stretch / train(100)))
    first = max(1, int(steps * min(1.0, PASS * copied / stretch)))
    without = train(steps)
    start = time.perf_counter()
    saving = method.save(step, state)
    train(first)
    saving.before_step()
    train(steps - first)
    together = time.perf_counter() - start
    saving.wait()
    return together - without


def train(steps: int) -> float:
    """Seconds that so many steps take."""
    matrix = torch.ones(256, 256)
    start = time.perf_counter()
    for _ in range(steps):
        torch.mm(matrix, matrix)
    return time.perf_counter() - start


def train_for(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        train(10)


def step_wait(saving: Saving) -> float:
    start = time.perf_counter()
    saving.before_step()
    return time.perf_counter() - start


def state_of(megabytes: int) -> State:
    """Weights and two moments for each, in 12 layers."""
    size = megabytes * 1_000_000 // (3 * 12 * 4)
    model = {f"layers.{index}.weight": torch.full((size,), 0.1) for index in range(12)}
    moments = {f"{key}.{moment}": torch.full((size,), 0.1) for key in model for moment in ("exp_avg", "exp_avg_sq")}
    return {"model": model, "optimizer": moments}


def resident(*, peak: bool) -> int:
    field = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def ratios(megabytes: int, seconds: Seconds) -> Iterator[dict[str, Any]]:
    for ours, measure, theirs, target in TARGETS:
        pairs = zip(seconds[ours][measure], seconds[theirs][measure], strict=True)
        if found := [mine / other for mine, other in pairs]:
            yield _row(megabytes, f"{ours}: {measure}", theirs, found, target)
    for ours in (LAUNCHER, OVERLAPPED):
        grown = [each / (megabytes * 1e6) for each in seconds[ours]["memory"]]
        yield _row(megabytes, f"{ours}: memory", "the state", grown, 1.2)


def _row(megabytes: int, what: str, over: str, found: list[float], target: float) -> dict[str, Any]:
    return {
        "MB": megabytes,
        "what": what,
        "over": over,
        "ratio": round(statistics.median(found), 3),
        "from, to": [round(min(found), 3), round(max(found), 3)],
        "at most": "" if math.isnan(target) else target,
    }


def report(megabytes: int, seconds: Seconds, rows: list[dict[str, Any]]) -> None:
    print(f"\n{megabytes} MB of state, load {os.getloadavg()[0]:.1f}")
    print(f"{'':24}" + "".join(f"{measure + ', ms':>15}" for measure in MEASURES) + f"{'memory, MB':>12}")
    for name, measures in seconds.items():
        cells = [_milliseconds(measures[measure]) for measure in MEASURES]
        print(f"{name:24}" + "".join(cells) + f"{statistics.median(measures['memory']) / 1e6:12.0f}")
    for row in rows:
        low, high = row["from, to"]
        aim = f"   at most {row['at most']}" if row["at most"] else ""
        print(f"{row['what']} over {row['over']}: {row['ratio']} ({low} – {high}){aim}")


def _milliseconds(found: list[float]) -> str:
    return f"{1000 * statistics.median(found):15.0f}" if found else f"{'–':>15}"


if __name__ == "__main__":
    main()
