import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import attempt
from launcher.attempt import Attempt, StopRequest
from launcher.backends import Command, Submission, slurm
from launcher.plan import Machine, make
from launcher.programs import Programs
from launcher.spec import JobSpec, TaskSpec, Training
from launcher.store import RunFolder

REQUEST = {"env": {}, "shared": True}
KILLED = "import sys, time; print('srun: error: node-a: task 0: Killed', file=sys.stderr, flush=True); time.sleep(300)"
SILENT = """import time; print('{"event": "alive", "node_rank": 0}', flush=True); time.sleep(300)"""


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
    stuck = Command(argv=(sys.executable, "-c", "import time; time.sleep(300)"), request=REQUEST)
    asked = StopRequest()
    asked.signals += [signal.SIGTERM, signal.SIGTERM]
    with Programs("r") as programs:
        attempt_ = Attempt(plan, RunFolder(tmp_path), lambda event: None, asked, programs)
        nodes = attempt_.run(Submission(commands=(stuck,)))
    assert nodes[0]["died"] == "was killed by SIGKILL"


@pytest.mark.parametrize(
    ("program", "died"),
    [(KILLED, "ended (srun: error: node-a: task 0: Killed)"), (SILENT, "gave no sign of life for 0.3 s")],
)
def test_a_node_whose_program_is_said_to_have_ended_or_is_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, died: str
) -> None:
    monkeypatch.setattr(attempt, "LAST_LINES", 0.0)
    monkeypatch.setattr("launcher.programs.GIVEN_UP", 0.0)
    spec = JobSpec(name="job", task=TaskSpec(target="t.py:f"), training=Training(steps=1))
    plan = make(spec, run_id="r", run_dir=tmp_path, job_dir=tmp_path, machine=Machine(cores=1))
    RunFolder(tmp_path).begin_attempt(plan)
    argv = (sys.executable, "-c", program)
    command = Command(argv=argv, request=REQUEST, silence=0.3, obituary=slurm.OBITUARY)
    told: list[str] = []
    with Programs("r") as programs:
        watching = Attempt(plan, RunFolder(tmp_path), lambda event: told.append(event["text"]), StopRequest(), programs)
        nodes = watching.run(Submission(commands=(command,)))
        assert nodes[0]["died"] == died and not programs.warm
    assert told == [f"node 0: the node program {died}"]
