"""The same bits on every backend: the mlp job on two nodes, against the local backend."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import HOSTS, PATIENT, ROOT, left_on
from tests.cluster.lab import Lab
from tests.cluster.slurm import Slurm


def trained(runs: Path, *settings: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The record of two epochs of the mlp job on two nodes."""
    words = [
        word for setting in ("training.epochs=2", "local.threads=1", PATIENT, *settings) for word in ("--set", setting)
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "launcher",
            "run",
            "jobs/mlp.yaml",
            "--nodes",
            "2",
            "--runs-dir",
            runs,
            "--json",
            *words,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the local backend."""
    return str(trained(tmp_path_factory.mktemp("local"))["weights_sha256"])


def test_two_machines_over_ssh_train_the_same_bits_as_one(lab: Lab, reference: str, tmp_path: Path) -> None:
    record = trained(tmp_path, "backend=ssh", HOSTS, f"ssh.config={lab.ssh_config}", "ssh.sync=rsync")
    assert record["weights_sha256"] == reference
    assert (Path(record["run_dir"]) / "checkpoints" / record["checkpoint"] / "manifest.json").exists()
    assert left_on(lab) == []


def test_two_nodes_of_slurm_train_the_same_bits_as_one_machine(slurm: Slurm, reference: str, tmp_path: Path) -> None:
    record = trained(tmp_path, "backend=slurm", env={"SLURM_CONF": str(slurm.configuration)})
    assert record["weights_sha256"] == reference
