import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import attempt
from launcher.attempt import Attempt, StopRequest
from launcher.backends import Command, Submission
from launcher.plan import Machine, make
from launcher.programs import Programs
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_signal_that_ends_a_command_asks_for_a_stop(handlers: None) -> None:
    request = StopRequest()
    request.install()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert request.times == 3


def test_under_nohup_a_closed_terminal_stops_nothing(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request = StopRequest()
    request.install()
    signal.raise_signal(signal.SIGHUP)
    assert request.times == 0


def test_a_node_program_that_does_not_end_with_its_lease_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LONGEST_END", 0.1)
    spec = JobSpec(name="job", task=TaskSpec(target="t.py:f"), training=Training(steps=1))
    plan = make(spec, run_id="r", run_dir=tmp_path, job_dir=tmp_path, machine=Machine(cores=1))
    RunFolder(tmp_path).begin_attempt(plan)
    stuck = Command(argv=(sys.executable, "-c", "import time; time.sleep(300)"), request={"env": {}, "shared": True})
    asked = StopRequest()
    asked.signals += [signal.SIGTERM, signal.SIGTERM]
    with Programs("r") as programs:
        attempt_ = Attempt(plan, RunFolder(tmp_path), lambda event: None, asked, programs)
        nodes = attempt_.run(Submission(commands=(stuck,)))
    assert nodes[0]["died"] == "was killed by SIGKILL"
