"""What `launcher bench` says a job's steps take, over what a clock outside of the job says.

    python tests/benchmarks/clock.py [--rounds 3] [--json FILE]

The job's loss writes a byte into a pipe; this process reads it and looks at its own clock. Both look at the same steps,
so a busy machine makes both longer. Prints ratios with their spread, 1 where the clocks agree; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from tests.benchmarks import recorded

WARM_UP = 5
CASES: dict[str, dict[str, Any]] = {
    "sleeps 20 ms": {"steps": 100, "width": 8, "seconds": 0.02},
    "computes": {"steps": 100, "width": 512, "seconds": 0.0},
}

TARGET = """
import os, time, torch
from launcher import Task
from torch.nn import functional as F
from torch.utils.data import TensorDataset

def build(width, seconds):
    pipe = os.open(os.environ["CLOCK"], os.O_WRONLY)
    def loss(model, batch):
        os.write(pipe, b".")
        time.sleep(seconds)
        return F.cross_entropy(model(batch[0]), batch[1])
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))
    data = TensorDataset(torch.randn(512, width), torch.randint(3, (512,)))
    return Task(model=model, optimizer=torch.optim.AdamW(model.parameters()), data=data, loss=loss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measured(case, options.rounds) for case in CASES]
    if options.json:
        recorded.write(options.json, "The clock of launcher bench over one outside of the job", rows)


def measured(case: str, rounds: int) -> dict[str, Any]:
    settings = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        arguments = json.dumps({"width": settings["width"], "seconds": settings["seconds"]})
        job = f"name: clock\ntask: {{target: 'target.py:build', args: {arguments}}}\n"
        Path(folder, "target.py").write_text(TARGET)
        Path(folder, "job.yaml").write_text(f"{job}training: {{steps: 1, batch_size: 64}}\npreflight: off\n")
        pairs = [once(Path(folder), settings["steps"]) for _ in range(rounds)]
    ratios = [ours / outside for ours, outside in pairs]
    middle = statistics.median(ratios)
    print(f"{case:22} {middle:.4f} ({min(ratios):.4f} – {max(ratios):.4f})", flush=True)
    seconds = round(statistics.median(outside for _, outside in pairs), 3)
    spread = [round(min(ratios), 4), round(max(ratios), 4)]
    return {
        "a step": case,
        "steps": settings["steps"],
        "seconds": seconds,
        "ratio": round(middle, 4),
        "from, to": spread,
    }


def once(folder: Path, steps: int) -> tuple[float, float]:
    """Seconds of the measured steps, by the bench and by this process."""
    pipe, figures = folder / "pipe", folder / "figures.json"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    seen: list[float] = []

    def listen() -> None:
        with pipe.open("rb", buffering=0) as end:
            while taken := end.read(1):
                seen.extend([time.perf_counter()] * len(taken))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    words = ["bench", "job.yaml", "--rounds", "1", "--warmup", str(WARM_UP), "--steps", str(steps)]
    argv = [sys.executable, "-P", "-m", "launcher", *words, "--json", str(figures)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "CLOCK": str(pipe)}
    subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True)
    listener.join(10)
    return json.loads(figures.read_text())["figures"]["total"], seen[WARM_UP + steps] - seen[WARM_UP]


if __name__ == "__main__":
    main()
