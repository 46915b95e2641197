"""The same bits on every backend: the mlp job on two nodes, against the local backend."""

from pathlib import Path

import pytest

from tests.cluster.conftest import HOSTS, ROOT, left_on, trained
from tests.cluster.lab import Lab
from tests.cluster.slurm import Slurm

JOB = ROOT / "jobs" / "mlp.yaml"
SHORT = "training.epochs=2"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the local backend."""
    return str(trained(JOB, tmp_path_factory.mktemp("local"), SHORT)["weights_sha256"])


def test_two_machines_over_ssh_train_the_same_bits_as_one(lab: Lab, reference: str, tmp_path: Path) -> None:
    record = trained(JOB, tmp_path, SHORT, "backend=ssh", HOSTS, f"ssh.config={lab.ssh_config}", "ssh.sync=rsync")
    assert record["weights_sha256"] == reference
    assert (Path(record["run_dir"]) / "checkpoints" / record["checkpoint"] / "manifest.json").exists()
    assert left_on(lab) == []


def test_two_nodes_of_slurm_train_the_same_bits_as_one_machine(slurm: Slurm, reference: str, tmp_path: Path) -> None:
    record = trained(JOB, tmp_path, SHORT, "backend=slurm", env={"SLURM_CONF": str(slurm.configuration)})
    assert record["weights_sha256"] == reference
