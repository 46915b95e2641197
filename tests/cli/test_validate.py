import json
from pathlib import Path

import pytest

from .conftest import Cli

JOB = "name: mlp\ntask: {target: 'mlp.py:build'}\ntraining: {epochs: 3}\n"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "mlp.py").write_text("def build():\n    return None\n")
    path = tmp_path / "mlp.yaml"
    path.write_text(JOB)
    return path


def test_a_valid_job_is_said_to_be_valid(launcher: Cli, job: Path) -> None:
    said = launcher("validate", job)
    assert said == (0, f"{job} is valid: mlp trains mlp.py:build (native) on the local backend\n", "")


def test_all_faults_go_to_stderr_with_their_lines(launcher: Cli, job: Path) -> None:
    job.write_text(JOB.replace("mlp\n", "m l p\n").replace("epochs", "epoch"))
    said = launcher("validate", job)
    assert (said.code, said.out) == (2, "")
    assert f"\n  {job}:1 name: " in said.err and f"\n  {job}:3 training.epoch: " in said.err


def test_a_target_that_is_not_there_is_a_fault(launcher: Cli, job: Path) -> None:
    job.write_text(JOB.replace("build", "biuld"))
    said = launcher("validate", job)
    assert said.code == 2 and "biuld" in said.err


def test_the_schema_is_json_on_stdout(launcher: Cli) -> None:
    said = launcher("schema")
    assert said.code == 0 and json.loads(said.out)["title"] == "launcher job file"
