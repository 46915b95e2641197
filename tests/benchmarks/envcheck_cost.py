"""What envcheck costs: the static tier over `python -c pass`, the whole of it beside torch's own collect_env.

    python tests/benchmarks/envcheck_cost.py [rounds]

One run of each in every round, so that a busy machine slows all alike; medians, spread and the medians of the ratios
within a round. Prints a table; judges nothing.
"""

from __future__ import annotations

import os
import resource
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
    processor: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, words in COMMANDS.items():
            wall, cpu = timed([sys.executable, *words])
            if turn:  # the first round only warms the caches
                seconds[name].append(wall)
                processor[name].append(cpu)
    for name, values in seconds.items():
        cpu = statistics.median(processor[name])
        print(
            f"{name:<26} median {statistics.median(values):6.3f} s ({min(values):6.3f} - {max(values):6.3f})"
            f"   processor {cpu:6.3f} s"
        )
    over = [one - bare for one, bare in zip(seconds["envcheck --static"], seconds["python -c pass"], strict=True)]
    print(f"static tier over python's own start: median {statistics.median(over):.3f} s")
    for name, other in RATIOS:
        ratios = [one / two for one, two in zip(seconds[name], seconds[other], strict=True)]
        print(f"{name} / {other}: median {statistics.median(ratios):.2f}   {min(ratios):.2f} - {max(ratios):.2f}")


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds; the latter hardly depend on what else the machine does."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
