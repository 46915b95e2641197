"""Before the rendezvous: faults planted on a real node are found on it, named, and nothing is started."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.conftest import Run, left_on
from tests.cluster.lab import NODES, Lab
from tests.cluster.unfit import UNFIT

Start = Callable[..., Run]


def refusal(run: Run, lab: Lab) -> str:
    code, _, err = run.wait()
    assert code == 3, err
    assert left_on(lab) == []
    return err


SAID = {
    "another torch on one node": "node-b has torch==2.12.0; the other has",
    "clock off by 20 s": "of the clocks, node-b is 20.0 s ahead",
    "full disk on one node": "/run: only 1 MiB are free",
}


@pytest.mark.parametrize("fault", SAID)
def test_a_node_that_does_not_fit_the_others_is_named_with_what_is_wrong(
    start: Start, lab: Lab, tmp_path: Path, fault: str
) -> None:
    with UNFIT[fault].planted(lab, tmp_path, "ssh") as settings:
        assert SAID[fault] in refusal(start(*settings), lab)


def test_nodes_that_cannot_reach_each_other_are_named_with_the_port(start: Start, lab: Lab, tmp_path: Path) -> None:
    with UNFIT["ports shut on one node"].planted(lab, tmp_path, "ssh"):
        err = refusal(start(), lab)
    assert "node-b -> node-a: " in err and lab.address("node-a") in err and "open all TCP ports" in err


def test_a_run_folder_that_is_not_shared_is_named_with_the_other_way(start: Start, lab: Lab) -> None:
    run = start("ssh.sync=shared", runs=lab.local / "runs")
    assert f"node-a does not share {lab.local}" in (err := refusal(run, lab)) and "ssh.sync=rsync" in err


def test_a_node_whose_own_name_is_loopback_is_fit_since_the_launcher_chooses_the_interface(
    start: Start, lab: Lab
) -> None:
    """With envcheck's own look, which is off in the other tests. Debian gives each machine's name to 127.0.1.1."""
    hosts = lab.path / "node-a" / "etc" / "hosts"
    before = hosts.read_text()
    hosts.write_text(before.replace(f"{lab.address('node-a')} node-a", "127.0.1.1 node-a"))
    try:
        run = start("preflight=fail")
        code, _, err = run.wait()
    finally:
        hosts.write_text(before)
    assert code == 0, err
    facts = [json.loads((Path(run.record.run_dir) / "nodes" / f"{node}.json").read_text()) for node in (0, 1)]
    assert [one["sections"]["names"]["addresses"] for one in facts] == [["127.0.1.1"], [lab.address("node-b")]]


def test_data_that_one_node_has_otherwise_is_named(start: Start, lab: Lab) -> None:
    for node in NODES:
        lab.ssh(node, f"mkdir -p {lab.local}/data && echo {node[-1]} > {lab.local}/data/part-0")
    try:
        err = refusal(start(f"data=[{lab.local}/data]"), lab)
    finally:
        for node in NODES:
            lab.ssh(node, f"rm -r {lab.local}/data")
    assert f"node-b has {lab.local}/data: 1 file, " in err


def test_code_that_one_node_has_otherwise_is_named(start: Start, lab: Lab, tmp_path: Path) -> None:
    target, other = tmp_path / "target.py", lab.path / "other.py"
    target.touch()
    other.write_text("def build(): return 'an older commit'\n")
    lab.ssh("node-b", f"mount --bind {other} {target}")
    try:
        err = refusal(start(), lab)
    finally:
        lab.ssh("node-b", f"umount {target}")
    assert f"node-b has {tmp_path}: 1 file, " in err


def test_a_path_that_takes_only_small_packets_is_named(start: Start, lab: Lab) -> None:
    rule = ["OUTPUT", "-d", lab.address("node-b"), "-p", "tcp", "-m", "length", "--length", "1000:65535", "-j", "DROP"]
    try:
        lab.run_on("node-a", "iptables", "-A", *rule)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs iptables that tells packets by length")
    try:
        err = refusal(start(), lab)
    finally:
        lab.run_on("node-a", "iptables", "-D", *rule)
    assert "node-a -> node-b" in err and "large ones do not" in err and "MTU" in err
