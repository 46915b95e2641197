"""What a rank says: whole lines, or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from launcher.worker.events import Events


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_an_event_is_one_line(pipe: tuple[int, int]) -> None:
    Events(0, {"LAUNCHER_EVENTS_FD": str(pipe[1])}).emit("validated", step=3, metrics={"a": 1.5})
    assert json.loads(os.read(pipe[0], 4096)) == {"event": "validated", "step": 3, "metrics": {"a": 1.5}}


def test_a_full_pipe_drops_lines_and_never_waits(pipe: tuple[int, int]) -> None:
    events = Events(0, {"LAUNCHER_EVENTS_FD": str(pipe[1])})
    for number in range(3000):
        events.emit("warning", text=f"{number} " + "x" * 200)
    lines = os.read(pipe[0], 1 << 20).decode().splitlines()
    assert 0 < len(lines) < 3000
    assert [json.loads(line)["text"].split()[0] for line in lines] == [str(number) for number in range(len(lines))]


def test_a_line_too_long_for_one_write_is_dropped(pipe: tuple[int, int]) -> None:
    events = Events(0, {"LAUNCHER_EVENTS_FD": str(pipe[1])})
    events.emit("warning", text="x" * 4096)
    events.emit("warning", text="short")
    assert [json.loads(line)["text"] for line in os.read(pipe[0], 1 << 20).splitlines()] == ["short"]


def test_nobody_listening_is_no_error(pipe: tuple[int, int]) -> None:
    Events(0, {}).emit("warning", text="unheard")
    end = os.dup(pipe[1])
    reader = os.dup(pipe[0])
    os.close(reader)
    Events(0, {"LAUNCHER_EVENTS_FD": str(end)}).emit("warning", text="unread")
    os.close(end)


def test_progress_comes_seldom_with_its_speed(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("launcher.worker.events.time.monotonic", lambda: clock[0])
    events = Events(1, {"LAUNCHER_EVENTS_FD": str(pipe[1])})
    said = []
    for step in range(1, 101):
        clock[0] += 0.1
        if events.progress_is_due():
            events.progress(step=step, epoch=1, loss=float("nan") if step == 1 else 0.5, total_steps=100)
            said.append(step)
    lines = [json.loads(line) for line in os.read(pipe[0], 1 << 20).splitlines()]
    assert said == [line["step"] for line in lines] and len(said) <= 21
    assert lines[0]["loss"] is None and lines[1]["steps_per_second"] == pytest.approx(10, rel=0.01)
