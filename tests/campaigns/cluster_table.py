"""Plants each fault on two real nodes under each backend, and writes down what became of it: docs/cluster-faults.md.

    python -m pytest -n 0 tests/campaigns/cluster_table.py             all rows; -k 'slurm and link' renews some

Ranks are stand-ins that only step, so the seconds are launcher's own; torch's import and rendezvous come on top.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.campaigns.cluster_docker import contain, image, left_in  # noqa: F401
from tests.cluster.conftest import Run, lab, left_on, slurm, start, submit, torchless  # noqa: F401
from tests.cluster.lab import NODES, Lab, until
from tests.cluster.test_containers import contain as contain_on_hosts  # noqa: F401
from tests.cluster.test_containers import engines  # noqa: F401
from tests.cluster.unfit import UNFIT

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster-faults.md"
PATIENCE = 60.0
WATCHED = 40.0
BOUND = 10.0

HEAD = """# Faults on a cluster, and what becomes of them

Written by `python -m pytest -n 0 tests/campaigns/cluster_table.py`, last on {day} ({cores} cores), never by hand. Two
machines (network name spaces with their own sshd, slurmd and container engine), or for `docker` two containers of one
engine; one rank each, `retry: {{max: 1}}`, `hang: {{seconds: 5}}`, watched for {watched:g} s. Ranks are stand-ins that
only step, so that the seconds are launcher's own; *worker killed* is the agent with its ranks; faults are planted on
the second node.
*Detected*: from the fault to the first word of it, for faults that were there before from the command to its refusal;
*next step*: from the fault to a step of the next attempt; *orphans*: processes that are left on any node when the run
is over, {bound:g} s after the fault at the earliest.

Not in the table, because there is nothing to see: containers of one machine share its clock, its disk and one image,
and the stand-ins of two containers say nothing to each other over their network; containers on hosts run one image, by
its digest, too, and their engines do not see the small disk that is mounted for the test; Slurm's nodes share the disk
that the run folder is on. A clock is off where the node's Python reports it so: a container cannot set its own.

| backend | fault | detected | next step | orphans | what the user sees |
|---|---|---|---|---|---|
"""
STARTERS = re.compile("tini|docker run")
SETTINGS = (
    "training.steps=4000",
    "hang.seconds=5",
    "retry.max=1",
    "retry.on=[hardware, capacity, preemption, environment, hang, user]",
)
LOOK = "look.seconds=5"
PATIENT_LOOK = {"docker on hosts": "look.seconds=20"}
"""Two engines on one busy machine take their time to start a container each."""
FIXTURES = {"ssh": "start", "slurm": "submit", "docker": "contain", "docker on hosts": "contain_on_hosts"}
MACHINES = ("ssh", "slurm", "docker on hosts")
"""Backends whose nodes have a network each."""


@dataclass(frozen=True)
class Fault:
    plant: Callable[[Run, Lab], None]
    mend: Callable[[Lab], None] = lambda lab: None
    goes_on: bool = False
    """Whether the run is to outlive it without a new attempt."""
    only_on: tuple[str, ...] = tuple(FIXTURES)


def left(run: Run, lab: Lab, node: str | None = None) -> list[str]:
    """`node pid: words` of each process of the run on its nodes, wherever these are."""
    if run.backend == "docker":
        return left_in(run, NODES.index(node) if node else None)
    return left_on(lab, *([node] if node else []))


def send(number: signal.Signals, module: str, node: str = "node-b") -> Callable[[Run, Lab], None]:
    def plant(run: Run, lab: Lab) -> None:
        # a container's init program and the command that started it name the module, too
        lines = [line for line in left(run, lab, node) if f"-m {module}" in line and not STARTERS.search(line)]
        os.kill(int(lines[0].split()[1][:-1]), number)

    return plant


def cut_for_a_moment(_run: Run, lab: Lab) -> None:
    lab.link("node-b", up=False)
    time.sleep(5)
    lab.link("node-b", up=True)


def plug_in(lab: Lab) -> None:
    lab.link("node-b", up=True)


FAULTS = {
    "worker killed": Fault(send(signal.SIGKILL, "launcher.worker")),
    "one rank stopped": Fault(send(signal.SIGSTOP, "launcher.worker")),
    "node program killed": Fault(send(signal.SIGKILL, "launcher.node")),
    "launcher: SIGTERM": Fault(lambda run, lab: run.kill(signal.SIGTERM)),
    "launcher: SIGKILL": Fault(lambda run, lab: run.kill(signal.SIGKILL)),
    "batch step: SIGKILL": Fault(send(signal.SIGKILL, "launcher.batch", "node-a"), only_on=("slurm",)),
    "link down for 5 s": Fault(cut_for_a_moment, goes_on=True, only_on=MACHINES),
    "link down for ever": Fault(
        lambda run, lab: lab.link("node-b", up=False), mend=plug_in, only_on=MACHINES
    ),
}  # fmt: skip
PLANTED = [(backend, fault) for backend in FIXTURES for fault, about in FAULTS.items() if backend in about.only_on]
REFUSED = [(backend, fault) for backend in MACHINES for fault, about in UNFIT.items() if backend in about.only_on]


def write_down(backend: str, fault: str, rest: str) -> None:
    """Put a row into the document, in the place of the one that it had."""
    found = re.findall(r"^\| ([\w ]+) \| ([^|]+) \| (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    rows = {**{(name, what): more for name, what, more in found}, (backend, fault): rest}
    about = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "bound": BOUND, "watched": WATCHED}
    order = [key for key in sorted([*PLANTED, *REFUSED], key=lambda key: list(FIXTURES).index(key[0])) if key in rows]
    lines = [f"| {name} | {what} | {rows[name, what]}\n" for name, what in order]
    DOCUMENT.write_text(HEAD.format(**about) + "".join(lines))


@pytest.mark.parametrize(("backend", "fault"), PLANTED)
def test_a_fault_is_noticed_and_leaves_nothing(
    backend: str, fault: str, lab: Lab, request: pytest.FixtureRequest
) -> None:
    planted = FAULTS[fault]
    run: Run = request.getfixturevalue(FIXTURES[backend])(*SETTINGS)
    run.backend = backend
    logs = run.runs.glob
    assert until(lambda: any("step 5\n" in log.read_text() for log in logs("*/logs/*/rank-1.log")), PATIENCE)
    at = time.monotonic()
    planted.plant(run, lab)
    detected, next_step = watch(run, at, planted)
    over = run.record.state != "RUNNING"
    if over:
        until(lambda: time.monotonic() - at > BOUND and not left(run, lab), BOUND)
    orphans = left(run, lab) if over else []
    planted.mend(lab)
    seconds = f"{shown(detected)} | {shown(next_step)}"
    write_down(backend, fault, f"{seconds} | {len(orphans) if over else 'the run lives'} | {seen(run)} |")
    run.kill(signal.SIGKILL)
    assert orphans == []


def watch(run: Run, at: float, planted: Fault) -> tuple[float | None, float | None]:
    """Seconds from the fault to the first word of it, and to a step of the next attempt."""
    detected = None
    while time.monotonic() - at < (BOUND + 5 if planted.goes_on else WATCHED):
        word = run.record.state != "RUNNING" or run.events("retrying") or run.events("warning") or run.events("hang")
        if detected is None and word:
            detected = time.monotonic() - at
        if any("step" in log.read_text() for log in run.runs.glob("*/logs/attempt-2/rank-1.log")):
            return detected, time.monotonic() - at
        if detected is not None and run.record.state != "RUNNING":
            break
        time.sleep(0.1)
    return detected, None


def seen(run: Run) -> str:
    """What the user is told, with the host."""
    told = [event["cause"] for event in run.events("retrying")] or [run.record.root_cause]
    if told[0] is None:
        return {"RUNNING": "nothing: it goes on"}.get(run.record.state, run.record.state)
    host = told[0].get("host")
    return (f"{host}: " if host in ("node-0", "node-1", *NODES) else "") + str(told[0]["message"]).splitlines()[0]


@pytest.mark.parametrize(("backend", "fault"), REFUSED)
def test_nodes_that_do_not_fit_are_refused_before_anything_starts(
    backend: str,
    fault: str,
    lab: Lab,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    with UNFIT[fault].planted(lab, tmp_path, backend) as settings:
        at = time.monotonic()
        run: Run = request.getfixturevalue(FIXTURES[backend])(
            "training.steps=4", PATIENT_LOOK.get(backend, LOOK), *settings
        )
        run.backend = backend
        code, _, err = run.wait()
        detected = time.monotonic() - at
    until(lambda: not left(run, lab), BOUND)
    orphans = left(run, lab)
    first, *more = [line.strip() for line in err.splitlines() if line.strip()]
    said = f"{first}: {more[0]}" if first.endswith("faults") else first
    write_down(backend, fault, f"{shown(detected)} | – | {len(orphans)} | exit {code}: {said.partition(': ')[2]} |")
    assert (code, orphans) == (3, [])


def shown(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f} s"
