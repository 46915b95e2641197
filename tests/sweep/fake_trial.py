"""Stands for the program of a trial: "trains" in five steps by a formula, in the run's folder, without torch.

fake_trial.py RUN_DIR PARENT. It goes on after the last step of its metrics, as a run does from its checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = 5


def main(run_dir: Path, parent: int) -> int:
    settings = json.loads((run_dir / "record.json").read_text())["sweep"]["settings"]
    number = json.loads((run_dir / "record.json").read_text())["sweep"]["trial"]
    metrics = run_dir / "metrics.jsonl"
    append(run_dir / "starts", {"pid": os.getpid()})
    signal.signal(signal.SIGTERM, lambda *_: stop(run_dir))
    last = {}
    for step in range(1 + len(metrics.read_text().splitlines()) if metrics.exists() else 1, STEPS + 1):
        if os.getppid() != parent:
            return 1
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0.01")))
        if os.environ.get("FAKE_KILL") == f"{number}@{step}" and not (run_dir / "killed").exists():
            (run_dir / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        last = {"score": value(settings, step)}
        append(metrics, {"step": step, "epoch": 1, "validation": last})
        append(run_dir / "events.jsonl", {"event": "validated", "step": step, "metrics": last})
    last = last or {"score": value(settings, STEPS)}
    finish(run_dir, "SUCCEEDED", 0, last)
    return 0


def value(settings: dict[str, float], step: int) -> float:
    return (settings["task.args.x"] - 0.3) ** 2 + settings.get("task.args.y", 0) + 1 / step


def stop(run_dir: Path) -> None:
    finish(run_dir, "STOPPED", 130, {})
    os._exit(130)


def finish(run_dir: Path, state: str, code: int, metrics: dict[str, float]) -> None:
    result = {"state": state, "exit_code": code, "step": STEPS, "metrics": metrics}
    (run_dir / ".result").write_text(json.dumps(result))
    (run_dir / ".result").replace(run_dir / "result.json")


def append(path: Path, line: dict[str, object]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
