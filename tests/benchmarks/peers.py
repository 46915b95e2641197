"""What each framework's loop adds to a step of the shortest loop by hand, with the same duties: microseconds, tiny MLP.

    python tests/benchmarks/peers.py [case ...] [--rounds 15] [--steps 500] [--json FILE]

Every loop trains the same network from the same source of batches, clips the gradient its own way, and each 50 steps
looks for losses that were not finite and writes a line; launcher sets all generators and sends progress besides. No
bar but launcher's, no checkpoint. Interleaved segments of one process, the processor's time; judges nothing.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from ignite.engine import Engine
from lightning.fabric import Fabric
from torch import Tensor

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from launcher.worker.duties import Duties
from tests.benchmarks import loop, recorded

CASES = ("tiny-fp32", "tiny-bf16")
EVERY, CLIP = 50, 1.0
Segment = Callable[[int], float]
"""Makes so many steps; returns the processor's seconds that they took."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    Duties.save = lambda *_, **__: None  # type: ignore[method-assign]
    rows = [row for case in options.cases for row in compared(case, options.rounds, options.steps)]
    if options.json:
        recorded.write(options.json, "What a loop with the same duties adds to a step by hand", rows)


def compared(case: str, rounds: int, steps: int) -> list[dict[str, Any]]:
    """All in turn; each round begins with another one."""
    with tempfile.TemporaryDirectory() as folder:
        segments = {"by hand": timed(loop.by_hand(case)), "launcher": timed(loop.launchers(case, Path(folder)))}
        for name, begin in PEERS.items():
            segments[name] = begin(case, Duty(Path(folder, name)))
        names = list(segments)
        spent: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(rounds + 1):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                torch.use_deterministic_algorithms(False)
                seconds = segments[name](steps) / steps
                if turn:
                    spent[name].append(seconds)
    bare = spent.pop("by hand")
    return [row(case, name, seconds, bare) for name, seconds in spent.items()]


def row(case: str, name: str, seconds: list[float], bare: list[float]) -> dict[str, Any]:
    added = [1e6 * (mine - floor) for mine, floor in zip(seconds, bare, strict=True)]
    low, middle, high = (round(each) for each in statistics.quantiles(added, n=4))
    ratio = statistics.median(mine / floor for mine, floor in zip(seconds, bare, strict=True))
    print(f"{case:11}{name:22}{middle:+6} µs [{low:+}, {high:+}]   {ratio:.2f}", flush=True)
    return {"case": case, "loop": name, "µs added": middle, "quartiles": [low, high], "ratio": round(ratio, 3)}


def timed(segment: Callable[[int], object]) -> Segment:
    def spent(steps: int) -> float:
        began = time.process_time()
        segment(steps)
        return time.process_time() - began

    return spent


class Duty:
    """What a user adds to a framework's loop, written lean: nothing waits for a loss unless it is due."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w")
        self.pending: list[Tensor] = []

    def see(self, loss: Tensor) -> None:
        self.pending.append(loss.detach())
        if len(self.pending) == EVERY:
            losses = torch.stack(self.pending)
            self.pending.clear()
            if not bool(torch.isfinite(losses).all()):
                raise ValueError("a loss is not finite")
            self.file.write(f"{float(losses[-1])}\n")
            self.file.flush()


def by_hand_with_duties(case: str, duty: Duty) -> Segment:
    task, batches, autocast = parts(case)

    def segment(steps: int) -> None:
        for _ in range(steps):
            task.optimizer.zero_grad()
            with autocast:
                loss = task.loss(task.model, next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.model.parameters(), CLIP)
            task.optimizer.step()
            duty.see(loss)

    return timed(segment)


def ignites(case: str, duty: Duty) -> Segment:
    task, batches, autocast = parts(case)

    def update(_engine: Engine, batch: Any) -> Tensor:
        task.optimizer.zero_grad()
        with autocast:
            loss = task.loss(task.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), CLIP)
        task.optimizer.step()
        duty.see(loss)
        return loss.detach()

    engine = Engine(update)
    return timed(lambda steps: engine.run(batches, max_epochs=1, epoch_length=steps))


def accelerates(case: str, duty: Duty) -> Segment:
    task, batches, _ = parts(case)
    accelerator: Any = importlib.import_module("accelerate").Accelerator(
        cpu=True, mixed_precision="bf16" if case.endswith("bf16") else "no"
    )
    model, optimizer = accelerator.prepare(task.model, task.optimizer)

    def segment(steps: int) -> None:
        for _ in range(steps):
            with accelerator.accumulate(model):
                optimizer.zero_grad()
                with accelerator.autocast():
                    loss = task.loss(model, next(batches))
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
            duty.see(loss)

    return timed(segment)


def fabrics(case: str, duty: Duty) -> Segment:
    task, batches, _ = parts(case)
    fabric = Fabric(accelerator="cpu", devices=1, precision=PRECISIONS[case])
    model, optimizer = fabric.setup(task.model, task.optimizer)

    def segment(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = task.loss(model, next(batches))
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=CLIP)
            optimizer.step()
            duty.see(loss)

    return timed(segment)


def lightnings(case: str, duty: Duty) -> Segment:
    """Everything is off that can be. A `fit` takes time to begin with: the clock is looked at within it."""
    task, batches, _ = parts(case)
    module = Module(task, batches, duty)

    def segment(steps: int) -> float:
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            precision=PRECISIONS[case],
            max_steps=steps + 1,
            gradient_clip_val=CLIP,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module.began.clear()
        trainer.fit(module)
        return module.began[-1] - module.began[0]

    return segment


PEERS: dict[str, Callable[[str, Duty], Segment]] = {
    "by hand, with duties": by_hand_with_duties,
    "Fabric": fabrics,
    "Ignite": ignites,
    "Accelerate": accelerates,
    "Lightning, lean": lightnings,
}
PRECISIONS: dict[str, Any] = {"tiny-fp32": "32-true", "tiny-bf16": "bf16-mixed"}


class Module(lightning.LightningModule):
    def __init__(self, task: Any, batches: Iterator[Any], duty: Duty) -> None:
        super().__init__()
        self.model, self.task, self.batches, self.duty = task.model, task, batches, duty
        self.began: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.began.append(time.process_time())
        loss: Tensor = self.task.loss(self.model, batch)
        self.duty.see(loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = self.task.optimizer
        return optimizer

    def train_dataloader(self) -> Iterator[Any]:
        return self.batches


def parts(case: str) -> tuple[Any, Iterator[Any], torch.autocast]:
    torch.manual_seed(0)
    task, data = loop.task_of(case)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.endswith("bf16"))
    return task, loop.endless(data, loop.CASES[case]["batch"]), autocast


if __name__ == "__main__":
    main()
