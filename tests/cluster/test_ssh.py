"""The ssh backend over real sshd's on two machines; the worker is a stand-in where only processes matter."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends import ssh
from launcher.errors import LauncherError
from tests.cluster.conftest import Run, job_on, left_on
from tests.cluster.lab import NODES, Lab, until

Start = Callable[..., Run]
BOUND = 10.0
"""Seconds within which nothing may be left on a node; a loaded machine gets some more to show it."""


@pytest.mark.parametrize("sync", ["shared", "rsync"])
def test_a_run_on_two_hosts_ends_with_all_its_logs_and_outcomes_here(start: Start, lab: Lab, sync: str) -> None:
    run = start(f"ssh.sync={sync}")
    code, _, err = run.wait()
    assert code == 0, err
    folder = Path(run.record.run_dir)
    assert sorted(path.name for path in (folder / "attempts" / "1").iterdir() if path.name.startswith("rank")) == [
        "rank-0.json",
        "rank-1.json",
    ]
    assert (folder / "logs" / "attempt-1" / "rank-1.log").read_text().count("rank 1 step") == 4
    assert left_on(lab) == []


def test_rank_zeros_output_is_seen_live(start: Start) -> None:
    run = start("ssh.sync=rsync", "training.steps=4000")
    assert run.process.stdout is not None
    assert any("rank 0 step" in line for line in run.process.stdout)


def test_a_stop_lets_both_nodes_end_at_a_step(training: Run, lab: Lab) -> None:
    training.kill(signal.SIGTERM)
    code, _, _ = training.wait()
    assert (code, training.record.state) == (130, "STOPPED")
    assert left_on(lab) == []


def test_a_killed_launcher_leaves_nothing_on_any_node(training: Run, lab: Lab) -> None:
    training.kill(signal.SIGKILL)
    assert until(lambda: not left_on(lab), BOUND), left_on(lab)
    assert training.record.state == "FAILED"


def test_a_cut_cable_ends_both_sides_and_the_record_names_the_host(training: Run, lab: Lab) -> None:
    lab.link("node-b", up=False)
    try:
        assert until(lambda: not left_on(lab), BOUND + 3), left_on(lab)
        training.wait()
    finally:
        lab.link("node-b", up=True)
    cause = training.record.root_cause
    assert cause is not None and cause["host"] == "node-b" and "lost with the connection" in cause["message"]


def test_a_killed_node_program_leaves_nothing_behind(training: Run, lab: Lab) -> None:
    pids = [line.split(":")[0].split()[1] for line in left_on(lab, "node-b") if line.endswith("-m launcher.node")]
    subprocess.run(["kill", "-KILL", *pids], check=True)
    training.wait()
    assert left_on(lab) == []
    cause = training.record.root_cause
    assert cause is not None and cause["host"] == "node-b" and cause["kind"] == "node"


def test_a_job_with_a_range_of_nodes_goes_on_without_the_host_that_is_lost(start: Start, lab: Lab) -> None:
    run = start("training.steps=4000", "resources.nodes=1..2", "retry.max=1")
    assert until(run.trains, 60)
    for line in left_on(lab, "node-b"):
        os.kill(int(line.split()[1][:-1]), signal.SIGKILL)
    assert until(lambda: run.record.world_sizes == (2, 1) and not left_on(lab, "node-b"), 60), run.record
    run.kill(signal.SIGTERM)
    _, out, _ = run.wait()
    assert "node-b is left out after its failure; the run goes on with 1 of 2 nodes" in out


def test_a_spare_host_takes_the_place_of_one_that_is_lost(start: Start, lab: Lab) -> None:
    run = start("ssh.hosts=[node-b]", "ssh.spare=[node-a]", "resources.nodes=1", "training.steps=4000", "retry.max=1")
    assert until(lambda: any("step" in log.read_text() for log in run.runs.glob("*/logs/attempt-1/rank-0.log")), 60)
    for line in left_on(lab, "node-b"):
        os.kill(int(line.split()[1][:-1]), signal.SIGKILL)
    assert until(lambda: any(run.runs.glob("*/logs/attempt-2/rank-0.log")), 60), run.record.root_cause
    assert left_on(lab, "node-a") and not left_on(lab, "node-b")
    run.kill(signal.SIGTERM)
    assert "node-b is left out after its failure; node-a takes its place" in run.wait()[1]


def test_only_variables_that_are_named_travel_and_their_values_are_written_nowhere(start: Start, lab: Lab) -> None:
    env = {"CANARY": "tweet-7261", "TOKEN": "secret-5523"}
    run = start("ssh.pass_env=[TOKEN]", "task.args.show=[TOKEN, CANARY]", "training.steps=4000", env=env)
    assert until(run.trains, 60)
    programs = left_on(lab)
    environments = b"".join(Path(f"/proc/{line.split()[1][:-1]}/environ").read_bytes() for line in programs)
    run.kill(signal.SIGTERM)
    run.wait()
    for log in run.runs.glob("*/logs/attempt-1/rank-*.log"):  # the target itself printed it
        assert log.read_text().startswith("TOKEN=secret-5523\nCANARY=None\n")
        log.unlink()
    written = "".join(programs).encode() + b"".join(path.read_bytes() for path in run.runs.rglob("*") if path.is_file())
    assert b"tweet-7261" not in environments + written
    assert b"secret-5523" not in written


BAD = {
    "no such host": ("nowhere.invalid node-b", 2, "nowhere.invalid: there is no such host"),
    "a host key that is not known": ("stranger node-b", 3, "stranger: its host key is not known here"),
    "a host key that has changed": ("changed node-b", 3, "changed: its host key is not the one known"),
    "no login without a password": ("locked-out node-b", 3, "locked-out: no login without a password"),
    "a host that is off": ("gone node-b", 3, "gone: it does not answer"),
    "one machine under two names": ("node-a twin-of-a", 3, "node-a and twin-of-a are one machine"),
    "a host named twice": ("node-a node-a", 2, "node-a is named twice"),
    "fewer hosts than nodes": ("node-a", 2, "2 nodes, but ssh.hosts names 1"),
    "an option in place of a host": ("-oProxyCommand=id node-b", 2, "is not the name of a host"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_hosts_are_refused_with_a_sentence_and_a_remedy(lab: Lab, fault: str) -> None:
    hosts, code, sentence = BAD[fault]
    with pytest.raises(LauncherError) as refusal:
        ssh.machine(ssh.settle(job_on(lab, *hosts.split()), Path("job.yaml")))
    assert (refusal.value.exit_code, sentence in refusal.value.message) == (code, True), refusal.value.message
    assert refusal.value.hint
    assert until(lambda: not left_on(lab), BOUND), left_on(lab)


def test_hosts_are_read_from_a_file_with_comments(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# rack 1\nnode-a\n\nnode-b # the noisy one\nnode-c\n")
    job = job_on(lab)
    job = dataclasses.replace(job, ssh=dataclasses.replace(job.ssh, hosts_file="hosts"))
    assert ssh.settle(job, tmp_path / "job.yaml").ssh.hosts == ("node-a", "node-b")


def test_looking_at_two_healthy_nodes_takes_a_moment(lab: Lab) -> None:
    began = time.monotonic()
    assert ssh.machine(job_on(lab, *NODES)).gpus == 0
    assert time.monotonic() - began < 20  # 0.7 s on an idle machine; a loaded one must not fail for it


def test_a_host_behind_another_is_reached_as_the_users_configuration_says(lab: Lab) -> None:
    assert ssh.machine(job_on(lab, "node-a", "behind-a")).cores > 0


def test_a_python_that_is_not_there_is_named_with_its_remedy(start: Start) -> None:
    code, _, err = start("ssh.python=/no/python").wait()
    assert code == 3 and "the Python is not there" in err and "ssh.python" in err
