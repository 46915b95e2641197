"""`launcher bench` and `profile` on real runs: held against another clock, every kind of task, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.conftest import Bench
from tests.runs.test_kinds import job

CLOCKED = """
import os, time, torch
from launcher import Task
from torch.nn import functional as F
from torch.utils.data import TensorDataset

def build():
    def loss(model, batch):
        with open(os.environ["NOTED"], "a") as file:
            print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), file=file)
        time.sleep(0.02)
        return F.cross_entropy(model(batch[0]), batch[1])
    model = torch.nn.Linear(8, 3)
    data = TensorDataset(torch.randn(64, 8), torch.randint(3, (64,)))
    return Task(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), data=data, loss=loss)
"""

PROGRAM = """
import torch
model = torch.nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while True:
    model(torch.randn(4, 8)).sum().backward()
    optimizer.step()
"""


def figures(bench: Bench, folder: Path, *argv: str) -> dict[str, object]:
    """What a bench of one run of each variant wrote; it leaves nothing else."""
    ended = bench.call("bench", *argv, "--rounds", "1", "--json", str(folder / "figures.json"))
    assert ended.exit_code == 0, ended.stderr
    assert not bench.runs_dir.exists()
    return dict(json.loads((folder / "figures.json").read_text())["figures"])


def test_the_steps_take_as_long_as_by_the_users_own_clock(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text(CLOCKED)
    bench.environ["NOTED"] = str(tmp_path / "noted")
    found = figures(bench, tmp_path, job(tmp_path, "native", str(tmp_path / "target.py:build")), "--steps", "60")
    noted = [int(line) for line in (tmp_path / "noted").read_text().split()]
    outside = (noted[10 + 60] - noted[10]) / 1e9
    assert found["total"] == pytest.approx(outside, rel=0.02)


@pytest.mark.parametrize("kind", ["lightning", "ignite"])
def test_a_frameworks_loop_is_measured_as_far_as_it_can_be_seen(bench: Bench, tmp_path: Path, kind: str) -> None:
    found = figures(bench, tmp_path, job(tmp_path, kind, f"target_{kind}.py:build"), "--warmup", "3", "--steps", "4")
    phases, unseen = dict(found["phases"]), dict(found["unseen"])  # type: ignore[call-overload]
    assert {"data wait", "backward", "optimizer", "the rest"} <= phases.keys()
    assert ("forward" in phases) == (kind == "lightning")
    assert ("forward" in unseen) == (kind == "ignite")


def test_a_program_that_knows_nothing_of_launcher_is_measured_by_its_optimizer(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    path = tmp_path / "script.yaml"
    path.write_text("name: script\ntask: {kind: script, target: program.py}\ntraining: {}\npreflight: off\n")
    found = figures(bench, tmp_path, str(path), "--warmup", "3", "--steps", "4")
    assert {"backward", "optimizer"} <= dict(found["phases"]).keys()  # type: ignore[call-overload]
    assert dict(found["unseen"]).keys() == {"forward", "data wait"}  # type: ignore[call-overload]
    assert found["samples_per_second"] is None


def test_a_job_that_fails_is_told_as_a_run_tells_it_and_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text("def build():\n    raise ValueError('planted')\n")
    ended = bench.call("bench", job(tmp_path, "native", str(tmp_path / "target.py:build")))
    assert ended.exit_code == 1 and "ValueError: planted" in ended.stderr
    assert len(list(bench.runs_dir.iterdir())) == 1


def test_a_profile_is_a_page_and_a_trace_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    page = tmp_path / "seen.html"
    ended = bench.call("profile", job(tmp_path, "native", "target_native.py:build"), "--output", str(page))
    assert ended.exit_code == 0, ended.stderr
    assert "aten::" in ended.stdout and "optimizer" in page.read_text()
    assert (tmp_path / "seen.trace.json.gz").stat().st_size > 0
    assert not bench.runs_dir.exists()


def test_a_page_that_could_not_be_written_is_told_before_anything_runs(bench: Bench, tmp_path: Path) -> None:
    path = job(tmp_path, "native", "target_native.py:build")
    ended = bench.call("profile", path, "--output", str(tmp_path / "nowhere" / "seen.html"))
    assert ended.exit_code == 2 and "there is no folder" in ended.stderr
    assert not bench.runs_dir.exists()
