"""A job whose time is up on a real Slurm: it saves, goes back into the queue, goes on, and ends with the same bits.

    python -m pytest -n 0 tests/campaigns/slurm_time.py

Slurm counts in minutes and warns up to half a minute early, so this takes about two.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher import store
from launcher.store import RunFolder
from tests.cluster.conftest import PATIENT, ROOT, lab, left_on, slurm  # noqa: F401
from tests.cluster.lab import Lab
from tests.cluster.slurm import Slurm

JOB = ROOT / "tests" / "runs" / "trial.yaml"
TIME_IS_UP = ("backend=slurm", "slurm.time=0:01:00", "slurm.save_before=10", "task.args.seconds=0.6")


def trained(runs: Path, *settings: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    words = [word for setting in (PATIENT, "preflight=off", *settings) for word in ("--set", setting)]
    shape = ("--nodes", "2", "--procs-per-node", "1", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "run", JOB, "--runs-dir", runs, *shape, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.timeout(400)
def test_a_job_whose_time_is_up_goes_on_in_its_next_turn_and_ends_with_the_same_bits(
    slurm: Slurm, lab: Lab, tmp_path: Path
) -> None:
    undisturbed = trained(tmp_path / "local")
    record = trained(tmp_path / "slurm", *TIME_IS_UP, env={"SLURM_CONF": str(slurm.configuration)})
    events = list(store.events(RunFolder(Path(record["run_dir"]))))
    assert next(event["reason"] for event in events if event["event"] == "requeued") == "its time is nearly up"
    resumed = [event["step"] for event in events if event["event"] == "resumed"]
    assert resumed and all(0 < step <= 24 for step in resumed)
    assert record["weights_sha256"] == undisturbed["weights_sha256"]
    ours, theirs = (Path(each["run_dir"], "metrics.jsonl").read_bytes() for each in (record, undisturbed))
    assert ours == theirs and left_on(lab) == []
