"""What a step of Lightning's or Ignite's own loop costs through launcher, over the framework alone.

    python tests/benchmarks/frameworks.py [lightning|ignite …] [--case tiny|medium …] [--rounds 9] [--json FILE]

Both train the same module or engine with the same arguments, in turn, in one process, with the processor's time taken
from the start of one step to the start of a later one. launcher does its duties besides: seeds, losses that are not
finite, a line of metrics each 50 steps. Medians and quartiles of the ratios; judges nothing. The tiny model shows the
cost itself, in microseconds a step; the medium one what share of a step that is.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
import lightning.pytorch as lightning
import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from launcher.plan import Machine, Plan, make
from launcher.spec import Checkpointing, JobSpec, Loader, TaskSpec, Training
from launcher.worker import tasks
from launcher.worker.context import Context
from tests.benchmarks import recorded

CASES: dict[str, dict[str, int]] = {
    "tiny": {"width": 128, "layers": 1, "inputs": 784, "batch": 32, "steps": 400},
    "medium": {"width": 1024, "layers": 5, "inputs": 1024, "batch": 128, "steps": 16},
}
WARM_UP = 3
began: list[float] = []
"""When each step of the training under way began, in seconds of the processor's time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["lightning", "ignite"])
    parser.add_argument("--case", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = [compared(kind, case, options.rounds) for kind in options.kinds for case in options.case]
    if options.json:
        recorded.write(options.json, "A step of Lightning's or Ignite's own loop, through launcher over alone", rows)


def compared(kind: str, case: str, rounds: int) -> dict[str, Any]:
    """Both in turn; which one goes first changes each round."""
    ways = {"alone": {"lightning": lightning_alone, "ignite": ignite_alone}[kind], "launcher": through_launcher}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            seconds = timed(ways[name], kind, case)
            if turn:
                spent[name].append(seconds)
    ratios = [mine / bare for mine, bare in zip(spent["launcher"], spent["alone"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    bare, mine = (statistics.median(spent[name]) * 1e6 for name in ways)
    print(
        f"{kind:10} {case:7} {bare:9.0f} µs alone {mine:9.0f} µs launcher   {middle:.3f} [{low:.3f}, {high:.3f}]",
        flush=True,
    )
    times = {"µs a step, alone": round(bare), "µs a step, launcher": round(mine)}
    quartiles = [round(low, 3), round(high, 3)]
    return {"loop": kind, "case": case, **times, "ratio": round(middle, 3), "quartiles": quartiles}


def timed(way: Callable[[str, str], None], kind: str, case: str) -> float:
    """Seconds a step, the first few left out."""
    began.clear()
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(0)
    way(kind, case)
    return (began[-1] - began[WARM_UP]) / (len(began) - 1 - WARM_UP)


def lightning_alone(_kind: str, case: str) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=CASES[case]["steps"],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(lightning_target(case))


def ignite_alone(_kind: str, case: str) -> None:
    given = ignite_target(case)
    steps = CASES[case]["steps"]
    given["trainer"].run(given["data"], max_epochs=-(-steps // len(given["data"])))


def through_launcher(kind: str, case: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        readable, writable = os.pipe()
        os.environ["LAUNCHER_EVENTS_FD"] = str(writable)
        try:
            context = Context.create(plan_of(kind, case, Path(folder)), rank=0, local_rank=0, node_rank=0)
            tasks.load(kind).run(context)
        finally:
            os.close(readable)
            os.close(writable)


def plan_of(kind: str, case: str, folder: Path) -> Plan:
    clip = 1.0 if kind == "lightning" else None
    training = Training(steps=CASES[case]["steps"], batch_size=CASES[case]["batch"], clip_norm=clip)
    task = TaskSpec(kind=kind, target=f"{__name__}:{kind}_target", args={"case": case})  # type: ignore[arg-type]
    checkpoint = Checkpointing(every=10**9)
    spec = JobSpec(name=case, task=task, training=training, checkpoint=checkpoint, loader=Loader(workers=0))
    plan = make(spec, run_id="benchmark", run_dir=folder, job_dir=folder, machine=Machine(cores=1))
    return dataclasses.replace(plan, device="cpu", threads=1)


class Mlp(lightning.LightningModule):
    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.network = network(case)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        began.append(time.process_time())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch
        loss = F.cross_entropy(self.network(inputs), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-4)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self.case)


def lightning_target(case: str) -> Mlp:
    return Mlp(case)


def ignite_target(case: str) -> dict[str, Any]:
    model = network(case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def update(_engine: Engine, batch: Any) -> Tensor:
        began.append(time.process_time())
        inputs, labels = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {"trainer": Engine(update), "data": loader(case), "to_save": {"model": model, "optimizer": optimizer}}


def network(case: str) -> nn.Sequential:
    width, inputs = CASES[case]["width"], CASES[case]["inputs"]
    hidden = [part for _ in range(CASES[case]["layers"] - 1) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), *hidden, nn.Linear(width, 10))


def loader(case: str) -> DataLoader[Any]:
    """As many samples as the steps take, in one epoch."""
    samples, inputs = CASES[case]["steps"] * CASES[case]["batch"], CASES[case]["inputs"]
    data = TensorDataset(torch.randn(samples, inputs), torch.randint(10, (samples,)))
    return DataLoader(data, batch_size=CASES[case]["batch"], shuffle=True)


if __name__ == "__main__":
    main()
