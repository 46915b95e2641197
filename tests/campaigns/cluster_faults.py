"""Faults planted on two real machines (network namespaces), beyond what every change has to wait for.

python -m pytest tests/campaigns/cluster_faults.py
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.cluster.conftest import Run, lab, left_on, slurm, start, submit, torchless, training  # noqa: F401
from tests.cluster.lab import Lab, until
from tests.cluster.slurm import Slurm
from tests.cluster.test_slurm import job, running  # noqa: F401
from tests.cluster.test_ssh import BOUND

Start = Callable[..., Run]


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


def test_a_killed_node_program_under_slurm_is_named_and_nothing_is_left(running: Run, lab: Lab) -> None:
    pids = [line.split()[1][:-1] for line in left_on(lab, "node-b") if line.endswith("-m launcher.node")]
    os.kill(int(pids[-1]), signal.SIGKILL)
    assert running.wait()[0] == 1
    cause = running.record.root_cause
    assert cause is not None and cause["node"] == 1 and cause["kind"] == "node"
    assert left_on(lab) == []


def test_a_killed_watcher_leaves_slurms_the_job_running(running: Run, slurm: Slurm) -> None:
    running.kill(signal.SIGKILL)
    running.wait()
    assert (running.record.state, slurm.state(job(running))) == ("RUNNING", "RUNNING")


def test_a_slurm_that_does_not_answer_for_a_while_is_told_and_outlived(running: Run, slurm: Slurm) -> None:
    slurm.controller(signal.SIGSTOP)
    assert running.process.stdout is not None
    try:
        assert any("the scheduler does not answer" in line for line in running.process.stdout)
    finally:
        slurm.controller(signal.SIGCONT)
    assert until(lambda: slurm.state(job(running)) == "RUNNING") and running.process.poll() is None
    assert running.record.state == "RUNNING"


def test_a_link_that_is_down_for_5_seconds_is_outlived(start: Start, lab: Lab) -> None:
    run = start("training.steps=400")
    assert until(run.trains, 60)
    lab.link("node-b", up=False)
    time.sleep(5)
    lab.link("node-b", up=True)
    assert run.wait()[0] == 0, run.record.root_cause


def test_a_stopped_node_program_is_given_up_by_name(training: Run, lab: Lab) -> None:
    pids = [line.split()[1][:-1] for line in left_on(lab, "node-b") if line.endswith("-m launcher.node")]
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    assert training.wait()[0] == 1
    cause = training.record.root_cause
    assert cause is not None and cause["host"] == "node-b" and "no sign of life" in cause["message"]
    assert left_on(lab) == []
