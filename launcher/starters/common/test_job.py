"""A short training goes through and learns something. Run it with: python -m pytest"""

import json
import subprocess
import sys
from pathlib import Path

JOB = Path(__file__).with_name("job.yaml")


def test_a_short_training_learns_something(tmp_path: Path) -> None:
    launcher("run", str(JOB), "--set", "training.epochs=3", "--runs-dir", str(tmp_path))
    record = json.loads(launcher("show", "latest", "--json", "--runs-dir", str(tmp_path)))
    assert record["state"] == "SUCCEEDED"
    assert record["metrics"]["accuracy"] > 0.8


def launcher(*words: str) -> str:
    command = [sys.executable, "-m", "launcher", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
