"""How quickly a run goes on by itself: from a rank's death, or from its last sign of life, to the next training step.

`python -m tests.campaigns.restarts --kills 60 --hangs 6 --seed 1` kills and stops ranks of one run on warm nodes, tells
the spread of the seconds, and writes it with `--json FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.campaigns import closing
from tests.campaigns.kills import JOB, PATIENCE
from tests.campaigns.scene import Scene, until

HANG = 3.0
"""`hang.seconds` of the run."""
SETTINGS = ("retry.max=100", f"hang.seconds={HANG:g}", "training.steps=100000", "training.validate_every=100000")
DEFECTS = {"kill": signal.SIGKILL, "hang": signal.SIGSTOP}


def seconds_back(scene: Scene, number: signal.Signals, chance: random.Random) -> float:
    """Send a rank a signal once the attempt has saved something; how long it takes until a new rank makes a step."""
    saved = _saved(scene)
    if not until(lambda: _saved(scene) > saved, PATIENCE):
        raise TimeoutError(f"no checkpoint within {PATIENCE:g} s\n{scene.said()}")
    time.sleep(chance.uniform(0, 0.3))
    ranks, old = scene.alive()["rank"], {mark.pid for mark in scene.marks()}
    began = time.time()
    os.kill(chance.choice([pid for pid in ranks if pid in old]), number)
    if not until(lambda: scene.marks()[-1].pid not in old, PATIENCE):
        raise TimeoutError(f"no step within {PATIENCE:g} s\n{scene.said()}")
    return next(mark.time for mark in scene.marks() if mark.pid not in old) - began


def campaign(scene: Scene, seed: int, kinds: list[str]) -> dict[str, list[float]]:
    chance, found = random.Random(seed), {kind: list[float]() for kind in DEFECTS}  # noqa: S311
    chance.shuffle(kinds)
    run = scene.start("run", str(JOB), *(word for setting in SETTINGS for word in ("--set", setting)))
    try:
        if not until(lambda: scene.find_run() is not None, PATIENCE):
            raise TimeoutError(scene.said())
        for kind in kinds:
            found[kind].append(seconds_back(scene, DEFECTS[kind], chance))
    finally:
        run.terminate()
        try:
            run.wait(60)
        except subprocess.TimeoutExpired:
            run.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hangs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="restarts-") as name:
        kinds = ["kill"] * chosen.kills + ["hang"] * chosen.hangs
        found = campaign(Scene(Path(name) / "scene"), chosen.seed, kinds)
    report = {"seed": chosen.seed, "hang.seconds": HANG}
    report |= {kind: {"times": len(values), **closing.spread(values)} for kind, values in found.items()}
    print(json.dumps(report, indent=1))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({**report, "seconds": found}, indent=1) + "\n")


def _saved(scene: Scene) -> int:
    return sum(event.get("event") == "checkpoint" for event in scene.events())


if __name__ == "__main__":
    main()
