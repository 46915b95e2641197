"""Faults planted on two real machines (network namespaces), beyond what every change has to wait for.

python -m pytest tests/campaigns/cluster_faults.py
"""

import os
import signal
import subprocess

from tests.cluster.conftest import Run, lab, left_on, start, torchless, training  # noqa: F401
from tests.cluster.lab import Lab, until
from tests.cluster.test_ssh import BOUND


def test_a_killed_ssh_client_is_named_and_leaves_nothing(training: Run, lab: Lab) -> None:
    clients = subprocess.run(
        ["pgrep", "-f", f"{lab.ssh_config}.*node-b.*launcher.node"], capture_output=True, text=True
    )
    os.kill(int(clients.stdout.split()[0]), signal.SIGKILL)
    training.wait()
    assert until(lambda: not left_on(lab), BOUND), left_on(lab)
    cause = training.record.root_cause
    assert cause is not None and "SIGKILL" in cause["message"]


def test_a_nodes_power_cut_ends_the_others_part(training: Run, lab: Lab) -> None:
    lab.power_off("node-b")
    try:
        assert until(lambda: not left_on(lab, "node-a"), BOUND + 3), left_on(lab)
        training.wait()
    finally:
        lab.power_on("node-b")
    cause = training.record.root_cause
    assert cause is not None and cause["host"] == "node-b"
