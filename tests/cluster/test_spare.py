"""A host that failed is left out of the next attempt, where there is another one for it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.backends import ssh
from launcher.errors import RequestError
from launcher.plan import Machine, Plan, differences, make
from launcher.spec import JobSpec, Resources, SshOptions, TaskSpec, Training


def job(*hosts: str, spare: tuple[str, ...] = (), nodes: int | str = 2) -> JobSpec:
    return JobSpec(
        name="job",
        task=TaskSpec(target="t.py:f"),
        training=Training(steps=1),
        resources=Resources(nodes=nodes),
        backend="ssh",
        ssh=SshOptions(hosts=hosts, spare=spare),
    )


def plan(*hosts: str, **more: Any) -> Plan:
    spec = ssh.settle(job(*hosts, **more), Path("job.yaml"))
    return make(spec, run_id="r", run_dir=Path("/r"), job_dir=Path("/j"), machine=Machine(cores=2))


def test_hosts_beyond_the_nodes_are_spare() -> None:
    settled = ssh.settle(job("a", "b", "c", spare=("d",)), Path("job.yaml")).ssh
    assert (settled.hosts, settled.spare) == (("a", "b"), ("c", "d"))


def test_a_host_cannot_be_its_own_spare() -> None:
    with pytest.raises(RequestError, match="a is named twice"):
        ssh.settle(job("a", "b", spare=("a",)), Path("job.yaml"))


@pytest.mark.parametrize("cause", [{"node": 1, "message": "lost"}, {"message": "b: it does not answer"}])
def test_a_spare_host_takes_the_place_of_the_one_that_failed(cause: dict[str, Any]) -> None:
    exchange = ssh.instead(plan("a", "b", "c", "d"), cause)
    assert exchange is not None
    assert (exchange.plan.spec.ssh.hosts, exchange.plan.spec.ssh.spare) == (("a", "c"), ("d",))
    assert exchange.told == "b is left out after its failure; c takes its place"


@pytest.mark.parametrize(("hosts", "cause"), [(("a", "b"), {"node": 1}), (("a", "b", "c"), {"message": "unfit"})])
def test_without_a_spare_host_or_a_name_nobody_is_left_out(hosts: tuple[str, ...], cause: dict[str, Any]) -> None:
    assert ssh.instead(plan(*hosts), cause) is None


LOST = (
    {"kind": "node", "node": 1, "message": "the node program was lost with the connection to b"},
    {"kind": "environment", "message": "b: it does not answer (ssh: connect to host b port 22: Connection refused)"},
    {"kind": "environment", "message": "b: no answer within 10 s"},
    {"kind": "environment", "message": "b: no answer over ssh (exit code 255: Connection closed by 10.0.0.2)"},
)
NOT_LOST = (
    {"kind": "user", "node": 1, "rank": 1, "message": "CUDA error: Input/output error"},
    {"kind": "environment", "message": "b: its Python is 3.9, launcher needs 3.11"},
    {"kind": "environment", "message": "b: no answer over ssh (exit code 1: MemoryError)"},
)


@pytest.mark.parametrize("cause", NOT_LOST)
def test_a_host_that_is_not_lost_stays_where_none_is_spare(cause: dict[str, Any]) -> None:
    assert ssh.instead(plan("a", "b", nodes="1..2"), cause) is None


@pytest.mark.parametrize("cause", LOST)
def test_without_a_spare_host_a_job_with_a_range_goes_on_without_it_and_keeps_the_rest_as_spare(
    cause: dict[str, Any],
) -> None:
    exchange = ssh.instead(plan("a", "b", "c", "d", nodes="1..4"), cause)
    assert exchange is not None and exchange.plan.nodes == 2
    assert (exchange.plan.spec.ssh.hosts, exchange.plan.spec.ssh.spare) == (("a", "c"), ("d",))
    assert exchange.told.startswith("b is left out after its failure; the run goes on with 2 of 4 nodes")


def test_a_run_on_other_hosts_is_of_the_same_job() -> None:
    earlier = plan("a", "b", "c")
    now = dataclasses.replace(earlier.spec, ssh=dataclasses.replace(earlier.spec.ssh, hosts=("a", "c"), spare=()))
    assert differences(earlier, now, Path("/j")) == []
