"""On a GPU: what launcher costs over the bare script, and how much of the machine each of the two reaches.

    python tests/benchmarks/gpu.py [gpt2] [resnet50] [--rounds 5] [--steps 60] [--json FILE]

Two jobs on synthetic data, of the size of GPT-2 (124 million parameters) and of ResNet-50, bf16: the loop by hand in a
process of its own, and the same model as a job through `launcher run`, in turn, with as many loader processes and a
fused optimizer. Both time their own steps after a warm-up, with the device idle at both ends. Prints the ratio with its
spread, and the share of the ceiling (MFU), which is the bf16 product of matrices measured on this device. Without CUDA
it says so and ends with 3.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from launcher import Task

UNFIT = 3
WARM_UP = 10
WORKERS = 6
TIMES = "GPU_BENCHMARK_TIMES"
"""Names the file that a run writes its seconds a step into."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model's and its batch's."""

    batch: int
    layers: int = 12
    width: int = 768
    heads: int = 12
    context: int = 1024
    words: int = 50304
    stages: tuple[int, ...] = (3, 4, 6, 3)
    image: int = 224


SIZES = {"gpt2": Size(batch=16), "resnet50": Size(batch=128)}
TINY = {
    "gpt2": Size(batch=2, layers=1, width=16, heads=2, context=8, words=32),
    "resnet50": Size(batch=2, stages=(1,), image=32),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.bare:
        bare(options.bare, options.steps, tiny=options.tiny)
        return 0
    if not torch.cuda.is_available():
        print("tests/benchmarks/gpu.py needs a GPU: torch sees no CUDA device here", file=sys.stderr)
        return UNFIT
    ceiling = measured_ceiling(torch.device("cuda"))
    about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "ceiling": ceiling}
    names = options.jobs or list(SIZES)
    results = {name: compare(name, options.rounds, options.steps, ceiling) for name in names}
    for name, result in results.items():
        print(f"{name:10} {told(result)}")
    if options.json:
        Path(options.json).write_text(json.dumps({**about, "command": sys.argv, "jobs": results}, indent=1))
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("jobs", nargs="*", choices=[*SIZES, []], metavar="JOB")
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--steps", type=int, default=60)
    found.add_argument("--json", metavar="FILE")
    found.add_argument("--bare", choices=list(SIZES), help=argparse.SUPPRESS)
    found.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    return found


def compare(name: str, rounds: int, steps: int, ceiling: float) -> dict[str, Any]:
    """Both in turn; which one goes first changes each round."""
    spent: dict[str, list[float]] = {"bare": [], "launcher": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for way in list(spent)[:: 1 if turn % 2 else -1]:
                spent[way].append(timed(way, name, steps, Path(folder) / f"{way}-{turn}.json"))
    return {**ratio(spent["launcher"], spent["bare"]), **utilization(flops(name, SIZES[name]), spent, ceiling)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Of seconds, round by round: the median, and the least and the most."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def utilization(flops_a_step: float, spent: dict[str, list[float]], ceiling: float) -> dict[str, float]:
    """Of each way, the share of the ceiling (in FLOP/s) that the median step reaches."""
    return {f"mfu_{way}": flops_a_step / statistics.median(seconds) / ceiling for way, seconds in spent.items()}


def told(result: dict[str, float]) -> str:
    spread = f"{result['least']:.3f} to {result['most']:.3f}"
    shares = f"bare {100 * result['mfu_bare']:.1f} %, launcher {100 * result['mfu_launcher']:.1f} %"
    return f"launcher over bare {result['ratio']:.4f} ({spread}); of the measured ceiling: {shares}"


def measured_ceiling(device: torch.device, size: int = 8192, repeats: int = 30) -> float:
    """FLOP/s of a bf16 product of two square matrices of random numbers."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = clocked(lambda: [left @ right for _ in range(repeats)], device) / repeats
    return 2 * size**3 / seconds


def flops(name: str, size: Size) -> float:
    """Of one step, forward and backward, counted by torch on a model without memory."""
    with torch.device("meta"):
        model, batch = model_of(name, size), batch_of(name, size)
        with FlopCounterMode(display=False) as counter:
            loss_of(model, batch).backward()
    return float(counter.get_total_flops())


def timed(way: str, name: str, steps: int, times: Path) -> float:
    """Seconds a step of one whole run; its own clock."""
    here = str(Path(__file__).resolve())
    if way == "bare":
        command = [sys.executable, here, "--bare", name, "--steps", str(steps)]
    else:
        job = times.with_suffix(".yaml")
        job.write_text(json.dumps(job_of(name, steps, here)))
        command = [sys.executable, "-m", "launcher", "run", str(job), "--runs-dir", str(times.parent / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), TIMES: str(times)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return float(json.loads(times.read_text()))


def job_of(name: str, steps: int, target: str) -> dict[str, Any]:
    """The job file; with the numerics that the bare script has."""
    size = SIZES[name]
    return {
        "name": f"bench-{name}",
        "task": {"target": f"{target}:build", "args": {"name": name}},
        "resources": {"procs_per_node": 1, "device": "cuda"},
        "training": {
            "steps": WARM_UP + steps + 1,
            "batch_size": size.batch,
            "precision": "bf16",
            "numerics": "fast",
            "log_every": WARM_UP + steps + 1,
        },
        "loader": {"workers": WORKERS},
        "checkpoint": {"every": WARM_UP + steps + 1},
        "preflight": "off",
    }


def build(name: str, tiny: bool = False) -> Task:
    """The job's target. Its loss notes when the warm-up and when the last step began."""
    size = (TINY if tiny else SIZES)[name]
    model = model_of(name, size)
    clock = StepClock()

    def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        clock.step(batch[0].device)
        return loss_of(model, batch)

    return Task(
        model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4), data=Synthetic(name, size), loss=loss
    )


class Synthetic(Dataset[list[Tensor]]):
    """As many samples as anybody asks for, of one batch in memory."""

    def __init__(self, name: str, size: Size) -> None:
        self.batch = batch_of(name, size)
        self.size = size.batch

    def __len__(self) -> int:
        return self.size * 10_000

    def __getitem__(self, index: int) -> list[Tensor]:
        return [each[index % self.size] for each in self.batch]


class StepClock:
    """Seconds a step, written down anew at each tenth step after the warm-up, so that the last word is the longest."""

    def __init__(self) -> None:
        self.steps = 0
        self.began = 0.0

    def step(self, device: torch.device) -> None:
        done, self.steps = self.steps, self.steps + 1
        if done < WARM_UP or done % 10:
            return
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if done == WARM_UP:
            self.began = now
        elif TIMES in os.environ:
            Path(os.environ[TIMES]).write_text(json.dumps((now - self.began) / (done - WARM_UP)))


def bare(name: str, steps: int, *, tiny: bool = False) -> None:
    """The same training by hand."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.benchmark = True
    size = (TINY if tiny else SIZES)[name]
    model = model_of(name, size).to(device)
    if name == "resnet50":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    workers = 0 if tiny else WORKERS
    loader = DataLoader(
        Synthetic(name, size), size.batch, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda"
    )
    clock = StepClock()
    for _, given in zip(range(WARM_UP + steps + 1), loader, strict=False):
        clock.step(device)
        batch = [each.to(device, non_blocking=True) for each in given]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def model_of(name: str, size: Size) -> nn.Module:
    return Decoder(size) if name == "gpt2" else Residual(size)


def batch_of(name: str, size: Size) -> list[Tensor]:
    if name == "gpt2":
        words = torch.randint(size.words, (size.batch, size.context + 1))
        return [words[:, :-1].contiguous(), words[:, 1:].contiguous()]
    return [torch.randn(size.batch, 3, size.image, size.image), torch.randint(1000, (size.batch,))]


def loss_of(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    inputs, labels = batch
    return F.cross_entropy(model(inputs).flatten(0, -2), labels.flatten())


def clocked(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, with the device idle at both ends."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


class Decoder(nn.Module):
    """A decoder of transformer layers whose output shares the words' embedding, as GPT-2 has it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.words = nn.Embedding(size.words, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)

    def forward(self, words: Tensor) -> Tensor:
        hidden = self.words(words) + self.places.weight
        for layer in self.layers:
            hidden = layer(hidden)
        return F.linear(self.norm(hidden), self.words.weight)


class Layer(nn.Module):
    """Attention to what came before, and two dense layers."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.first, self.second = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.inward, self.outward = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        self.wide, self.narrow = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.inward(self.first(hidden)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts, is_causal=True)
        hidden = hidden + self.outward(seen.transpose(1, 2).flatten(-2))
        return hidden + self.narrow(F.gelu(self.wide(self.second(hidden))))


class Residual(nn.Module):
    """Bottlenecks in stages, as ResNet-50 has them."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks, width = [], 64
        for stage, count in enumerate(size.stages):
            for number in range(count):
                blocks.append(Bottleneck(width, 64 * 2**stage, stride=2 if stage and not number else 1))
                width = 256 * 2**stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, 1000)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)).mean((2, 3)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        relu = nn.ReLU()
        self.path = nn.Sequential(
            *convolution(inputs, inner, 1, 1), relu, *convolution(inner, inner, 3, stride), relu,
            *convolution(inner, 4 * inner, 1, 1),
        )  # fmt: skip
        changes = stride > 1 or inputs != 4 * inner
        self.around = nn.Sequential(*convolution(inputs, 4 * inner, 1, stride)) if changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.path(images) + self.around(images))


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)


if __name__ == "__main__":
    raise SystemExit(main())
