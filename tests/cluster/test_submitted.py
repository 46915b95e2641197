"""Stops that a scheduler does not hear: the queue is a stand-in, or Slurm's commands are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launcher import store, submitted
from launcher.attempt import StopRequest
from launcher.backends import base, slurm_queue
from launcher.errors import EnvironmentUnfit, Interrupted
from launcher.store import RunFolder
from tests.cluster.test_slurm import put_on_path

OUTAGE = "echo 'Unable to contact slurm controller' >&2; exit 1"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitted, "PATIENCE", 0.0)
    monkeypatch.setattr(submitted, "TICK", 0.0)
    monkeypatch.setattr(submitted, "ASK_EVERY", 0.0)


class Scheduler:
    """Takes the job from the queue when it hears a request; hears none for the first `deaf` of them."""

    def __init__(self, state: Any, *, deaf: int = 1000) -> None:
        self.now, self.deaf, self.asked = state, deaf, list[bool]()

    def cancel(self, _job: str, gently: bool) -> bool:
        self.asked.append(gently)
        if len(self.asked) > self.deaf:
            self.now = None
        return len(self.asked) > self.deaf

    def queue(self) -> base.Queue:
        return base.Queue(
            submit=lambda plan, folder: "77",
            state=lambda job: self.now,
            cancel=self.cancel,
            last_word=lambda job: "CANCELLED",
        )


@pytest.mark.parametrize(("state", "said"), [("UNKNOWN", "job 77 may still run"), ("RUNNING", "job 77 is still RUNN")])
def test_a_stop_writes_no_verdict_while_the_job_may_run(state: str, said: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(EnvironmentUnfit, match=said) as refusal:
        submitted.end(folder, Scheduler(state).queue(), "77", 0.0)
    assert refusal.value.hint == f"launcher stop {tmp_path.name}, again" and not folder.result.exists()


def test_a_stop_that_is_not_heard_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler("RUNNING", deaf=2)
    monkeypatch.setattr(submitted, "conclude", lambda *about: store.record(tmp_path))
    submitted.end(RunFolder(tmp_path), scheduler.queue(), "77", 60.0)
    assert scheduler.asked == [True, True, True]


def asked_to_stop(times: int) -> StopRequest:
    stop = StopRequest()
    stop.signals.extend([2] * times)
    return stop


def test_a_watch_goes_on_asking_for_a_stop_that_was_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler, told = Scheduler("UNKNOWN", deaf=3), list[Mapping[str, Any]]()
    monkeypatch.setattr(submitted, "conclude", lambda *about: store.record(tmp_path))
    submitted.watch(RunFolder(tmp_path), scheduler.queue(), "77", told.append, asked_to_stop(1))
    assert scheduler.asked == [True] * 4
    assert [event["text"] for event in told if "asked to end as soon as it does" in event["text"]] == [told[0]["text"]]


def test_a_second_stop_that_is_not_heard_leaves_the_job_to_itself(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(Interrupted, match="does not answer; job 77 may go on") as left:
        submitted.watch(folder, Scheduler("UNKNOWN").queue(), "77", print, asked_to_stop(2))
    assert left.value.hint == f"launcher stop {tmp_path.name}, when it answers" and not folder.result.exists()


@pytest.mark.parametrize(
    ("squeue", "asked"),
    [("echo RUNNING", "--batch --signal=TERM 77"), (OUTAGE, "--batch --signal=TERM 77"), ("echo PENDING", "77")],
)
def test_only_a_job_that_waits_is_ended_without_saving_by_a_gentle_stop(
    squeue: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, monkeypatch, squeue=squeue, scancel=f'echo "$@" > {tmp_path}/asked')
    assert slurm_queue.cancel("77", True)
    assert (tmp_path / "asked").read_text() == f"{asked}\n"


@pytest.mark.parametrize(("squeue", "heard"), [(OUTAGE, False), ("echo COMPLETING", True)])
def test_a_request_that_slurm_refuses_was_heard_and_one_without_an_answer_was_not(
    squeue: str, heard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, monkeypatch, squeue=squeue, scancel="exit 1")
    assert slurm_queue.cancel("77", False) is heard
