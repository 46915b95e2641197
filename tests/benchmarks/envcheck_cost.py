"""What envcheck costs: the static tier over `python -c pass`, the whole of it beside torch's own collect_env.

    python tests/benchmarks/envcheck_cost.py [rounds]

One run of each in every round, so that a busy machine slows all alike; medians, spread and the medians of the ratios
within a round. Prints a table; judges nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "envcheck --static": ["-m", "envcheck", "--static"],
    "python -c 'import torch'": ["-c", "import torch"],
    "envcheck": ["-m", "envcheck"],
    "torch.utils.collect_env": ["-m", "torch.utils.collect_env"],
}
RATIOS = [("envcheck", "torch.utils.collect_env"), ("envcheck", "python -c 'import torch'")]


def main(rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, words in COMMANDS.items():
            took = timed([sys.executable, *words])
            if turn:  # the first round only warms the caches
                seconds[name].append(took)
    for name, values in seconds.items():
        print(f"{name:<28} median {statistics.median(values):6.3f} s   {min(values):6.3f} - {max(values):6.3f}")
    over = [one - bare for one, bare in zip(seconds["envcheck --static"], seconds["python -c pass"], strict=True)]
    print(f"static tier over python's own start: median {statistics.median(over):.3f} s")
    for name, other in RATIOS:
        ratios = [one / two for one, two in zip(seconds[name], seconds[other], strict=True)]
        print(f"{name} / {other}: median {statistics.median(ratios):.2f}   {min(ratios):.2f} - {max(ratios):.2f}")


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
