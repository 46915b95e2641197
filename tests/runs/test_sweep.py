"""A sweep of real runs: killed with `kill -9`, gone on with, and the runs are those that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.runs.conftest import JOB, Bench, ended, until

pytest.importorskip("optuna")

SWEEP = """metric: accuracy
mode: max
sampler: grid
parallel: 2
space: {task.args.width: {choice: [16, 8]}}
"""
SETTINGS = ("--set", "resources.procs_per_node=1", "--set", "training.steps=12")


@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two trials at a time want two cores")
def test_a_killed_sweep_leaves_no_process_and_goes_on_from_the_trials_checkpoints(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the devices' locks of this test alone
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    sweep = bench.start("sweep", str(JOB), "--sweep", str(file), *SETTINGS, "--set", "task.args.seconds=0.3")
    assert until(lambda: len([*bench.runs_dir.glob("trial-trial-*/checkpoints/step-*")]) >= 2), ended(sweep, 1)
    assert len({frozenset(cores) for cores in affinities(bench)}) == 2
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert until(lambda: not bench.left_behind(), 20), bench.left_behind()

    done = bench.call("sweep", "resume", "latest", "--json")
    assert done.exit_code == 0, done.stderr
    best = json.loads(done.stdout.splitlines()[-1])["best"]
    runs = sorted(bench.runs_dir.glob("trial-trial-*"))
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    assert [(result["state"], result["attempts"]) for result in results] == [("SUCCEEDED", 2)] * 2
    assert best["run_id"] == max(results, key=lambda result: result["metrics"]["accuracy"])["run_id"]
    again = bench.call("reproduce", runs[0].name)
    assert again.exit_code == 0 and "BITWISE" in again.stdout, again


def affinities(bench: Bench) -> list[set[int]]:
    """The cores of the trials' launchers, by whom each watches."""
    pids = [json.loads(lock.read_text())["pid"] for lock in bench.runs_dir.glob("trial-trial-*/lock")]
    return [os.sched_getaffinity(pid) for pid in pids]
