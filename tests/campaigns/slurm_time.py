"""A job whose time is up on a real Slurm: it saves, goes back into the queue, goes on, and ends with the same bits.

    python -m pytest -n 0 tests/campaigns/slurm_time.py

Slurm counts in minutes and warns up to half a minute early, so this takes about two.
"""

from pathlib import Path

import pytest

from launcher import store
from launcher.store import RunFolder
from tests.cluster.conftest import ROOT, lab, left_on, slurm, trained  # noqa: F401
from tests.cluster.lab import Lab
from tests.cluster.slurm import Slurm

JOB = ROOT / "tests" / "runs" / "trial.yaml"
TIME_IS_UP = ("backend=slurm", "slurm.time=0:01:00", "slurm.save_before=10", "task.args.seconds=0.6")


@pytest.mark.timeout(400)
def test_a_job_whose_time_is_up_goes_on_in_its_next_turn_and_ends_with_the_same_bits(
    slurm: Slurm, lab: Lab, tmp_path: Path
) -> None:
    undisturbed = trained(JOB, tmp_path / "local", "preflight=off")
    record = trained(
        JOB, tmp_path / "slurm", "preflight=off", *TIME_IS_UP, env={"SLURM_CONF": str(slurm.configuration)}
    )
    events = list(store.events(RunFolder(Path(record["run_dir"]))))
    assert next(event["reason"] for event in events if event["event"] == "requeued") == "its time is nearly up"
    resumed = [event["step"] for event in events if event["event"] == "resumed"]
    assert resumed and all(0 < step <= 24 for step in resumed)
    assert record["weights_sha256"] == undisturbed["weights_sha256"]
    ours, theirs = (Path(each["run_dir"], "metrics.jsonl").read_bytes() for each in (record, undisturbed))
    assert ours == theirs and left_on(lab) == []
