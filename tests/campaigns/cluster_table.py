"""Plants each fault on two real machines under each backend, and writes down what became of it: docs/cluster-faults.md.

    python -m pytest -n 0 tests/campaigns/cluster_table.py

Ranks are stand-ins that only step, so the seconds are launcher's own; torch's import and rendezvous come on top.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.conftest import Run, lab, left_on, slurm, start, submit, torchless  # noqa: F401
from tests.cluster.lab import NODES, Lab, until

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster-faults.md"
PATIENCE = 60.0

HEAD = """# Faults on a cluster, and what becomes of them

Written by `python -m pytest -n 0 tests/campaigns/cluster_table.py` on {day} ({cores} cores), never by hand. Two
machines (network name spaces with their own sshd and slurmd), one rank each, `retry: {{max: 1}}`, watched for
{watched:g} s. Ranks are stand-ins that only step, so that the seconds are launcher's own; *worker killed* is the
agent with its ranks.
*Detected*: from the fault to the verdict on the attempt, or to the next one; *next step*: from the fault to a step of
the next attempt; *orphans*: processes left on any node {bound:g} s after the fault, where the run is over.

| backend | fault | detected | next step | orphans | what the user sees |
|---|---|---|---|---|---|
"""
WATCHED = 40.0
BOUND = 15.0


@dataclass(frozen=True)
class Fault:
    plant: Callable[[Run, Lab], None]
    mend: Callable[[Lab], None] = lambda lab: None
    goes_on: bool = False
    """Whether the run is to outlive it without a new attempt."""


def pids(lab: Lab, module: str) -> list[int]:
    return [int(line.split()[1][:-1]) for line in left_on(lab, "node-b") if f"-m {module}" in line]


def kill(lab: Lab, module: str) -> None:
    for pid in pids(lab, module)[:1]:
        os.kill(pid, signal.SIGKILL)


def cut_for_a_moment(_run: Run, lab: Lab) -> None:
    lab.link("node-b", up=False)
    time.sleep(5)
    lab.link("node-b", up=True)


def plug_in(lab: Lab) -> None:
    lab.link("node-b", up=True)


FAULTS = {
    "worker killed": Fault(lambda run, lab: kill(lab, "launcher.worker")),
    "node program killed": Fault(lambda run, lab: kill(lab, "launcher.node")),
    "launcher: SIGTERM": Fault(lambda run, lab: run.kill(signal.SIGTERM)),
    "launcher: SIGKILL": Fault(lambda run, lab: run.kill(signal.SIGKILL)),
    "link down for 5 s": Fault(cut_for_a_moment, goes_on=True),
    "link down for ever": Fault(lambda run, lab: lab.link("node-b", up=False), mend=plug_in),
}


@pytest.fixture(scope="session")
def table() -> Iterator[list[str]]:
    """The rows, written when all of them are there."""
    rows: list[str] = []
    yield rows
    if len(rows) == 2 * len(FAULTS):
        about = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "bound": BOUND, "watched": WATCHED}
        DOCUMENT.write_text(HEAD.format(**about) + "\n".join(rows) + "\n")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("backend", ["ssh", "slurm"])
def test_a_fault_is_noticed_and_leaves_nothing(
    backend: str, fault: str, lab: Lab, table: list[str], request: pytest.FixtureRequest
) -> None:
    planted = FAULTS[fault]
    begin = request.getfixturevalue("start" if backend == "ssh" else "submit")
    run = begin("training.steps=4000", "retry.max=1", "retry.on=[hardware, capacity, preemption, environment, user]")
    assert until(run.trains, PATIENCE), run.process.poll()
    at = time.monotonic()
    planted.plant(run, lab)
    detected = next_step = None
    deadline = at + WATCHED
    while time.monotonic() < deadline and next_step is None:
        if detected is None and (run.record.state != "RUNNING" or run.events("retrying")):
            detected = time.monotonic() - at
        if any("step" in log.read_text() for log in run.runs.glob("*/logs/attempt-2/rank-1.log")):
            next_step = time.monotonic() - at
        if detected is not None and run.record.state != "RUNNING" and time.monotonic() - at > BOUND:
            break
        if planted.goes_on and time.monotonic() - at > BOUND:
            break
        time.sleep(0.1)
    over = run.record.state != "RUNNING"
    left = left_on(lab) if over else []
    planted.mend(lab)
    cause = run.record.root_cause or next((event["cause"] for event in run.events("retrying")), None)
    seen = (
        str(cause["message"]) if cause else {"RUNNING": "nothing: it goes on"}.get(run.record.state, run.record.state)
    )
    where = f"{cause['host']}: " if cause and cause.get("host") in NODES else ""
    orphans = str(len(left)) if over else "the run lives"
    table.append(f"| {backend} | {fault} | {shown(detected)} | {shown(next_step)} | {orphans} | {where}{seen} |")
    run.kill(signal.SIGKILL)
    assert left == []


def shown(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"
