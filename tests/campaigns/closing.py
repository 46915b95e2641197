"""The end of the kill campaign: one table, the same as JSON, and what torchrun does in the same case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import processes
from tests.campaigns import timeline
from tests.campaigns.scene import ROOT, Scene, until

if TYPE_CHECKING:
    from tests.campaigns.kills import Round

EDGES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, float("inf"))
EVERY = 3
"""Steps between two checkpoints of kills.yaml."""
HANG = 60.0
"""Seconds without a step after which torchrun's restart counts as hung; its own limit is 30 minutes."""


def told(rounds: Iterable[Round]) -> list[Round]:
    """Say each round as it ends. Ctrl-C ends the campaign with the rounds so far."""
    done: list[Round] = []
    with contextlib.suppress(KeyboardInterrupt):
        for each in rounds:
            done.append(each)
            _say(each)
    return done


def _say(each: Round) -> None:
    what = ", ".join(f"{death.victim} at {death.moment}" for death in each.deaths)
    end = "FAILED" if each.faults else "same bits"
    print(f"run {each.number} ({each.kind}): {len(each.deaths)} kills ({what}): {end}", flush=True)
    for fault in each.faults:
        print(f"  {fault}\n  repeat with: {each.repeat()}", flush=True)


def tell(rounds: Sequence[Round], beside: Sequence[float | None], *, seed: int, file: Path | None) -> int:
    """Print the table; returns the exit code."""
    report = gathered(rounds, beside, seed)
    for key, value in report["launcher"].items():
        print(f"{key:48}{value if value is not None else '':>8}")
    print("\nseconds from a death to the next training step")
    columns = {**report["returns"], **({"torchrun": known(beside)} if beside else {})}
    print(f"{'':14}" + "".join(f"{name:>10}" for name in columns))
    for low, high in pairwise(EDGES):
        bars = [sum(low <= value < high for value in values) for values in columns.values()]
        print(f"{low:>5g} to {high:<5g}" + "".join(f"{bar:>10}" for bar in bars))
    for key in ("p50", "p99", "worst"):
        print(f"{key:14}" + "".join(f"{spread(values).get(key, ''):>10}" for values in columns.values()))
    if beside:
        print(f"torchrun hung {report['torchrun']['hung']} of {len(beside)} times")
    print(f"\nrepeat with: python -m tests.campaigns.kills --kills {report['launcher']['kills']} --seed {seed}")
    if file is not None:
        file.write_text(json.dumps(report, indent=1) + "\n")
    return bool(report["launcher"]["failed"])


def gathered(rounds: Sequence[Round], beside: Sequence[float | None], seed: int) -> dict[str, Any]:
    returns = {
        name: [value for each in rounds for value in timeline.returns(each.legs, each.deaths, warm=name == "warm")]
        for name in ("warm", "cold")
    }
    deaths = [death for each in rounds for death in each.deaths]
    unsaved = [at for each in rounds for at in timeline.unsaved(each.legs, each.deaths, EVERY)]
    ours = {
        "kills": len(deaths),
        "runs": len(rounds),
        "failed": sum(bool(each.faults) for each in rounds),
        "most steps lost": max((steps for each in rounds for steps in timeline.lost(each.legs)), default=0),
        "deaths that met a save under way": len(unsaved),
        "longest that such a save had taken": round(max(unsaved, default=0.0), 2),
        "slowest end of a dead launcher's processes": max((d.alone for d in deaths if d.alone), default=None),
    }
    theirs = {"kills": len(beside), "hung": sum(each is None for each in beside), **spread(known(beside))}
    return {
        "seed": seed,
        "launcher": ours,
        "kinds": dict(Counter(each.kind for each in rounds)),
        "seconds to the next step": {name: spread(values) for name, values in returns.items()},
        "torchrun": theirs,
        "returns": returns,
        "by victim and moment": {
            f"{v} at {m}": n for (v, m), n in Counter((d.victim, d.moment) for d in deaths).items()
        },
        "faults": [{"repeat": each.repeat(), "faults": each.faults} for each in rounds if each.faults],
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"worst": round(max(seconds), 2)} if seconds else {}
    at = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(at[49], 2), "p99": round(at[98], 2), "worst": round(max(seconds), 2)}


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def torchrun(folder: Path, trials: int) -> list[float | None]:
    """Seconds from the death of a rank to the next all-reduce under torchrun's own restart; None where it hung."""
    return [_torchrun_trial(Scene(folder / f"torchrun-{number}")) for number in range(trials)]


def _torchrun_trial(scene: Scene) -> float | None:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "--no-python"]
    program = [sys.executable, str(Path(__file__).with_name("torchrun_trainee.py"))]
    mark = f"torchrun-{os.getpid()}-{scene.folder.name}"
    environ = {"KILLS_MARKS": str(scene.folder / "marks"), "TMPDIR": str(scene.temporary), processes.MARK: mark}
    run = subprocess.Popen(
        [sys.executable, *words, *program],
        env={**os.environ, **environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if not until(lambda: len(scene.marks()) > 10, HANG):
            return None
        victim, died = scene.marks()[-1], time.time()
        os.kill(victim.pid, signal.SIGKILL)
        old = {mark.pid for mark in scene.marks()}
        if not until(lambda: any(mark.pid not in old for mark in scene.marks()), HANG):
            return None
        return next(mark.time for mark in scene.marks() if mark.pid not in old) - died
    finally:
        for pid in processes.every():
            if processes.marked(pid, mark):
                os.kill(pid, signal.SIGKILL)
        run.wait()
