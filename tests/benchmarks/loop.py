"""What launcher's training loop costs over the shortest loop one can write by hand.

    python tests/benchmarks/loop.py [case ...] [--rounds 15]      time, in interleaved segments of one process
    python tests/benchmarks/loop.py [case ...] --instructions     instructions, counted by valgrind (minutes a case)
    python tests/benchmarks/loop.py [case ...] --calls            calls from Python: the same number each time

By hand: draw a batch, forward, backward, optimizer. launcher's loop does its duties besides: it sets every generator,
clips, looks for losses that are not finite, logs each 50 steps, sends progress events and saves a checkpoint each
segment. Medians and quartiles of the ratios, beside the target; judges nothing. valgrind knows no AVX-512, and without
it torch multiplies bf16 matrices so slowly that only the tiny model's can be counted. `--json FILE` writes the ratios
for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "jobs" / "tasks")]

# ruff: noqa: E402
from launcher import Task
from launcher.plan import Machine, Plan, make
from launcher.spec import Checkpointing, JobSpec, TaskSpec, Training
from launcher.worker import events, numerics
from launcher.worker.batches import Stream
from launcher.worker.context import Context
from launcher.worker.duties import Duties
from launcher.worker.tasks import native
from tests.benchmarks import recorded

CASES: dict[str, dict[str, Any]] = {
    "tiny-fp32": {"width": 128, "layers": 1, "inputs": 784, "batch": 32, "steps": 500},
    "tiny-bf16": {"width": 128, "layers": 1, "inputs": 784, "batch": 32, "steps": 500, "precision": "bf16"},
    "medium": {"width": 1024, "layers": 5, "inputs": 1024, "batch": 128, "steps": 12},
    "medium-bf16": {"width": 1024, "layers": 5, "inputs": 1024, "batch": 128, "steps": 12, "precision": "bf16"},
    "gpt": {"batch": 16, "steps": 15},
    "gpt-bf16": {"batch": 16, "steps": 15, "precision": "bf16"},
}
TINY, LARGE = "at most 1.10, better 1.06", "at most 1.02, better 1.01"
"""The targets: by time and by instructions; a large model's time cannot show a difference of 1 %."""
SAMPLES = 4096
Segment = Callable[[int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    title = "The native loop over one written by hand, by "
    if options.counted:
        return run_counted(*options.cases)
    if options.instructions:
        title, rows = title + "instructions", [count_instructions(case) for case in options.cases]
    elif options.calls:
        title, rows = title + "calls from Python in a step", [count_calls(case) for case in options.cases]
    else:
        title, rows = title + "processor time", [measure_time(case, options.rounds) for case in options.cases]
    if options.json:
        recorded.write(options.json, title, rows)
    return None


def measure_time(case: str, rounds: int) -> dict[str, Any]:
    """Both loops in turn; which one goes first changes each round."""
    steps = CASES[case]["steps"]
    with tempfile.TemporaryDirectory() as folder:
        loops = {"by hand": by_hand(case), "launcher": launchers(case, Path(folder))}
        spent: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(rounds + 1):
            for name in list(loops)[:: 1 if turn % 2 else -1]:
                began = time.process_time()
                loops[name](steps)
                if turn:
                    spent[name].append((time.process_time() - began) / steps)
    ratios = [mine / bare for mine, bare in zip(spent["launcher"], spent["by hand"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    bare, mine = (statistics.median(spent[name]) * 1e6 for name in loops)
    target = TINY if case.startswith("tiny") else "no difference beyond the quartiles"
    print(
        f"{case:11} {bare:9.0f} µs by hand {mine:9.0f} µs launcher   {middle:.3f} [{low:.3f}, {high:.3f}]   {target}",
        flush=True,
    )
    times = {"µs a step by hand": round(bare), "µs a step, launcher": round(mine)}
    return {"case": case, **times, "ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}


def by_hand(case: str) -> Segment:
    """The shortest loop: no loader, no clipping, no check, no log."""
    torch.manual_seed(0)
    task, data = task_of(case)
    precision = CASES[case].get("precision", "fp32")
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    model: Any = task.model
    optimizer: Any = task.optimizer
    batches = endless(data, CASES[case]["batch"])

    def segment(steps: int) -> None:
        torch.use_deterministic_algorithms(False)
        for _ in range(steps):
            batch = next(batches)
            optimizer.zero_grad(set_to_none=True)
            if precision == "fp32":
                loss = task.loss(model, batch)  # type: ignore[misc]
            else:
                with autocast:
                    loss = task.loss(model, batch)  # type: ignore[misc]
            loss.backward()
            optimizer.step()

    return segment


def endless(data: TensorDataset, batch: int) -> Iterator[list[torch.Tensor]]:
    while True:
        order = torch.randperm(len(data))
        for begin in range(0, len(data) - batch + 1, batch):
            chosen = order[begin : begin + batch]
            yield [tensor.index_select(0, chosen) for tensor in data.tensors]


def launchers(case: str, folder: Path) -> Segment:
    """The native loop, stopped (and so saved) after each segment."""
    plan = plan_of(case, folder)
    readable, os.environ["LAUNCHER_EVENTS_FD"] = (str(end) for end in os.pipe())
    os.set_blocking(int(readable), False)
    context = Context.create(plan, rank=0, local_rank=0, node_rank=0)
    torch.manual_seed(0)
    loop, batches = native._prepare(task_of(case)[0], context)
    loop.duties.resume()
    microbatches = iter(Stream(batches, batches.remaining(0), plan, pin_memory=False))

    def segment(steps: int) -> None:
        numerics.configure(plan)
        last = loop.duties.state.step + steps
        context.stop.now = lambda step: step == last  # type: ignore[method-assign]
        context.stop.asked = True
        loop.run(microbatches)
        context.checkpoints.wait()
        while data_waits(int(readable)):
            pass

    return segment


def data_waits(pipe: int) -> bool:
    try:
        return bool(os.read(pipe, 1 << 16))
    except BlockingIOError:
        return False


def plan_of(case: str, folder: Path) -> Plan:
    settings = CASES[case]
    training = Training(
        steps=10**9, batch_size=settings["batch"], clip_norm=1.0, precision=settings.get("precision", "fp32")
    )
    task = TaskSpec(target="unused.py:build")
    spec = JobSpec(name=case, task=task, training=training, checkpoint=Checkpointing(every=10**9))
    plan = make(spec, run_id="benchmark", run_dir=folder, job_dir=folder, machine=Machine(cores=1))
    return dataclasses.replace(plan, device="cpu", threads=1)


def task_of(case: str) -> tuple[Task, TensorDataset]:
    settings = CASES[case]
    if case.startswith("gpt"):
        import gpt

        model: nn.Module = gpt.Transformer(width=128, layers=4, heads=4, context=64, dropout=0.1)
        data = TensorDataset(torch.randint(len(gpt.ALPHABET), (SAMPLES, 65)))
        loss = lambda model, batch: gpt.next_character_loss(model, batch[0]).mean()  # noqa: E731
    else:
        width, inputs = settings["width"], settings["inputs"]
        hidden = [part for _ in range(settings["layers"] - 1) for part in (nn.Linear(width, width), nn.ReLU())]
        model = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), *hidden, nn.Linear(width, 10))
        data = TensorDataset(torch.randn(SAMPLES, inputs), torch.randint(10, (SAMPLES,)))
        loss = lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return Task(model=model, optimizer=optimizer, data=data, loss=loss), data


def count_calls(case: str) -> dict[str, Any]:
    """Of functions, in Python or C, by the thread that trains; launcher's own are those in or from its modules."""
    events.SHORTEST_INTERVAL = float("inf")
    steps, own, every = counted_steps(case), 0, 0
    package = str(ROOT / "launcher")

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal own, every
        if event not in ("call", "c_call"):
            return
        every += 1
        caller = frame if event == "c_call" else frame.f_back
        ours = frame.f_code.co_filename.startswith(package)
        own += ours or (caller is not None and caller.f_code.co_filename.startswith(package))

    with tempfile.TemporaryDirectory() as folder:
        bare, mine = by_hand(case), launchers(case, Path(folder))
        Duties.save = lambda *_, **__: None  # type: ignore[method-assign]
        bare(2)
        mine(2)
        counts = []
        for segment in (bare, mine):
            own = every = 0
            sys.setprofile(count)
            segment(steps)
            sys.setprofile(None)
            counts.append((every / steps, own / steps))
    (by_hands, _), (ours, launchers_own) = counts
    row = {"case": case, "by hand": by_hands, "launcher": ours, "launcher's own": launchers_own}
    print("   ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def count_instructions(case: str) -> dict[str, Any]:
    """A process of its own under valgrind, which counts only within `exec`: importing torch takes more instructions
    than all that is to be compared."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/count"]
        within = ["--collect-atstart=no", "--toggle-collect=PyEval_EvalCode", "--dump-after=PyEval_EvalCode"]
        command = [*valgrind, *within, sys.executable, __file__, case, "--counted"]
        fixed = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **fixed})
        parts = sorted(Path(folder).glob("count.*"), key=lambda path: int(path.name.split(".")[-1]))
        counts = [int(re.findall(r"^(?:totals|summary): (\d+)", part.read_text(), re.M)[-1]) for part in parts]
    bare, mine, save = counts[:3]
    steps = counted_steps(case)
    print(
        f"{case:11} {bare / steps / 1e6:9.3f} M by hand {mine / steps / 1e6:9.3f} M launcher   {mine / bare:.4f}"
        f"   {TINY if case.startswith('tiny') else LARGE}   a checkpoint: {save / (bare / steps):.1f} steps",
        flush=True,
    )
    millions = {"M by hand": round(bare / steps / 1e6, 3), "M launcher": round(mine / steps / 1e6, 3)}
    return {"case": case, **millions, "ratio": round(mine / bare, 4)}


def run_counted(case: str) -> None:
    """Warm-up, then the three parts to count: by hand, launcher without a checkpoint, and one checkpoint."""
    events.SHORTEST_INTERVAL = 30.0  # under valgrind a step takes some fifty times as long
    steps, save = counted_steps(case), Duties.save
    with tempfile.TemporaryDirectory() as folder:
        bare, mine = by_hand(case), launchers(case, Path(folder))
        saved: list[Duties] = []
        Duties.save = lambda duties, **_: saved.append(duties)  # type: ignore[method-assign, assignment]
        for warm_up in (bare, mine):
            warm_up(2 if case.startswith("tiny") else 1)
        let_valgrind_look()
        within_exec(lambda: bare(steps))
        within_exec(lambda: mine(steps))
        within_exec(lambda: (save(saved[0], protect=False), saved[0].context.checkpoints.wait()))


def let_valgrind_look() -> None:
    """Busy meanwhile, because valgrind hears only where instructions are run."""
    asking = subprocess.Popen(["callgrind_control", "--instr=on", str(os.getpid())])
    while asking.poll() is None:
        pass


def within_exec(run: Callable[[], object]) -> None:
    """Of the functions of Python's that valgrind finds by name, `exec` is one that no step calls."""
    exec("run()", {"run": run})  # noqa: S102


def counted_steps(case: str) -> int:
    return 100 if case.startswith("tiny") else 1


if __name__ == "__main__":
    main()
