"""The look at a node before training, where it does not go well: that is told, and a strict job does not start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envcheck.check import Status
from launcher import preflight
from launcher.plan import Machine, make
from launcher.preflight import Look, Preflight
from launcher.spec import JobSpec, Resources, TaskSpec, Training
from launcher.store import RunFolder

Begin = Callable[..., Preflight]
Judge = Callable[..., Look]
NO_TORCH = {"absent": "a test has none"}


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """A look for a job with this `preflight`, just begun."""

    def begin(mode: str, nodes: int = 1, **environ: str) -> Preflight:
        spec = JobSpec(name="j", task=TaskSpec(target="t.py:f"), training=Training(steps=1), preflight=mode,
                       resources=Resources(nodes=nodes, device="cpu"))  # fmt: skip
        plan = make(spec, run_id="r", run_dir=tmp_path, job_dir=tmp_path, machine=Machine(cores=2))
        return Preflight(plan, RunFolder(tmp_path), 0, {"PATH": "/usr/bin:/bin", **environ})

    return begin


@pytest.fixture
def judged(begin: Begin) -> Judge:
    def judge(mode: str, probe: dict[str, Any] = NO_TORCH, **environ: str) -> Look:
        look, deadline = begin(mode, **environ), time.monotonic() + 60
        while look.collecting and time.monotonic() < deadline:
            time.sleep(0.01)
        return look.judge(probe)

    return judge


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(preflight, "collect", fail)


@pytest.mark.usefixtures("crash")
def test_a_look_that_crashes_is_told_and_starts_no_strict_job(judged: Judge) -> None:
    look = judged("fail")
    assert look.refused == []
    assert look.warnings == ["this node could not be looked at: RuntimeError: can't start new thread"]
    assert {one.status for one in judged("strict").refused} >= {Status.UNKNOWN}


@pytest.mark.usefixtures("crash")
def test_the_next_attempt_does_not_take_a_crashed_look_for_a_fresh_one(
    judged: Judge, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged("fail")
    monkeypatch.undo()
    assert begin("fail").wanted


def test_the_next_attempt_takes_facts_as_they_were_a_moment_ago_unless_the_job_wants_something_else(
    judged: Judge, begin: Begin
) -> None:
    judged("fail")
    assert not begin("fail").wanted
    assert begin("fail", nodes=2).wanted


def test_a_node_where_no_thread_can_be_started_is_looked_at_without_one(
    judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert judged("fail").warnings == ["this node could not be looked at: RuntimeError: can't start new thread"]


def test_facts_that_cannot_be_stored_are_told_and_the_job_starts(judged: Judge, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("a file where the folder should be")
    look = judged("fail")
    assert look.refused == []
    assert "could not be stored" in look.warnings[0]


def test_who_insists_starts_on_an_unfit_node_but_is_told(judged: Judge) -> None:
    assert [one.id for one in judged("fail", TP_SOCKET_IFNAME="nosuch0").refused] == ["NET006"]
    look = judged("warn", TP_SOCKET_IFNAME="nosuch0")
    assert look.refused == []
    assert look.warnings[0].startswith("NET006 ")


def test_a_probe_without_an_answer_is_unknown_and_no_fault(judged: Judge) -> None:
    assert judged("fail", {"absent": "no answer within 120 s"}).refused == []
    assert [one.id for one in judged("fail", {"section": {"failure": "it died"}}).refused] == ["LIB020"]


def test_an_answer_of_another_envcheck_is_unknown_too(judged: Judge) -> None:
    assert judged("fail", {"section": {"colour": "red"}}).refused == []
