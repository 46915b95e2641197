"""A user's own program, unchanged: its steps under launcher over those under plain torchrun.

    python tests/benchmarks/job.py [medium] [gpt] [--rounds 5]

Interleaved whole runs of one script, which notes the processor time and the page faults of its steps after a warm-up,
and at the end the digest of its weights. Prints ratios with their spread; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from tests.benchmarks import recorded

STEPS = {"medium": 30, "gpt": 30}

PROGRAM = """
import hashlib, json, os, resource, sys, time, torch
from torch import nn
from torch.nn import functional as F
sys.path.insert(0, os.environ["JOBS"])
case, steps = os.environ["CASE"], int(os.environ["STEPS"])
torch.manual_seed(0)
if case == "gpt":
    import gpt
    model = gpt.Transformer(width=128, layers=4, heads=4, context=64, dropout=0.1)
    make = lambda: torch.randint(len(gpt.ALPHABET), (16, 65))
    loss_of = lambda batch: gpt.next_character_loss(model, batch).mean()
else:
    hidden = [part for _ in range(5) for part in (nn.Linear(1024, 1024), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(1024, 10))
    make = lambda: (torch.randn(128, 1024), torch.randint(10, (128,)))
    loss_of = lambda batch: F.cross_entropy(model(batch[0]), batch[1])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for step in range(steps + 5):
    if step == 5:
        began, faults = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    optimizer.zero_grad()
    loss_of(make()).backward()
    optimizer.step()
usage = resource.getrusage(resource.RUSAGE_SELF)
digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values())).hexdigest()
noted = {"seconds": (time.process_time() - began) / steps, "faults": (usage.ru_minflt - faults) / steps,
         "digest": digest, "megabytes": usage.ru_maxrss / 1024}
with open(os.environ["NOTED"], "w") as file:
    json.dump(noted, file)
"""

JOB = "name: job\ntask: {kind: script, target: program.py}\ntraining: {numerics: fast, batch_size: 1}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(STEPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write them for docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "program.py").write_text(PROGRAM)
        (Path(folder) / "job.yaml").write_text(JOB)
        rows = [report(case, measured(case, Path(folder), options.rounds)) for case in options.cases]
    if options.json:
        recorded.write(options.json, "The user's own program, unchanged, through launcher over torchrun", rows)


def measured(case: str, folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    ways = {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "program.py"],
        "launcher": ["-P", "-m", "launcher", "run", "job.yaml", "--preflight", "off", "--set", "local.threads=1"],
    }
    noted: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            environ = {
                **os.environ,
                **{"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CASE": case, "STEPS": str(STEPS[case])},
                **{"NOTED": str(folder / "noted"), "JOBS": str(ROOT / "jobs" / "tasks")},
            }
            subprocess.run([sys.executable, *ways[name]], cwd=folder, env=environ, check=True, capture_output=True)
            noted[name].append(json.loads((folder / "noted").read_text()))
    return noted


def report(case: str, noted: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    ratios = sorted(
        mine["seconds"] / theirs["seconds"] for mine, theirs in zip(noted["launcher"], noted["torchrun"], strict=True)
    )
    print(f"{case}: launcher over torchrun {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    for name, rounds in noted.items():
        seconds, faults, megabytes = (
            statistics.median(each[key] for each in rounds) for key in ("seconds", "faults", "megabytes")
        )
        print(f"  {name:9} {1000 * seconds:7.1f} ms and {faults:7.0f} page faults a step, {megabytes:5.0f} MB at most")
    same = len({str(each["digest"]) for rounds in noted.values() for each in rounds}) == 1
    print(f"  the weights are {'the same' if same else 'NOT the same'}")
    spread = [round(ratios[0], 2), round(ratios[-1], 2)]
    faults = {
        f"page faults a step, {name}": round(statistics.median(each["faults"] for each in rounds))
        for name, rounds in noted.items()
    }
    return {"case": case, "ratio": round(statistics.median(ratios), 2), "from, to": spread, **faults, "same bits": same}


if __name__ == "__main__":
    main()
