import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.wire import MOST_LOG, MOST_WAITING, Inbox, LogTail, Outbox


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_message_cut_in_two_arrives_whole(pipe: tuple[int, int]) -> None:
    inbox = Inbox(pipe[0])
    os.write(pipe[1], b'{"a": ')
    assert inbox.read() == []
    os.write(pipe[1], b'1}\n{"b": 2}\n')
    assert inbox.read() == [{"a": 1}, {"b": 2}]


def test_lines_that_are_no_messages_are_passed_over(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b'not json\n[1]\n{"a": 1}\n')
    assert Inbox(pipe[0]).read() == [{"a": 1}]


def test_the_end_of_the_pipe_is_noticed_after_the_last_message(pipe: tuple[int, int]) -> None:
    inbox = Inbox(pipe[0])
    os.write(pipe[1], b'{"a": 1}\n')
    os.close(pipe[1])
    assert inbox.read() == [{"a": 1}]
    assert inbox.closed


def test_a_reader_that_has_stopped_never_blocks_the_writer(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    for _ in range(4 * MOST_WAITING // 1000):
        outbox.put({"event": "log", "text": "x" * 1000})
        outbox.flush()
    assert len(outbox) < MOST_WAITING + 2000
    outbox.put({"event": "exited"})
    assert len(outbox) > 0


def test_what_waited_is_written_when_the_reader_comes_back(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    for number in range(3000):
        outbox.put({"event": "checkpoint", "step": number})
    inbox, got = Inbox(pipe[0]), []
    while len(outbox):
        outbox.flush()
        got += inbox.read()
    outbox.flush()
    got += inbox.read()
    assert [message["step"] for message in got] == list(range(3000))


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    os.close(pipe[0])
    outbox.put({"a": 1})
    outbox.flush(patience=1.0)


def test_a_log_is_passed_on_by_whole_lines_and_at_the_end_entirely(tmp_path: Path) -> None:
    log = tmp_path / "rank-0.log"
    log.write_text("one\ntw")
    tail = LogTail(log)
    assert [event["text"] for event in tail.read()] == ["one\n"]
    assert [event["text"] for event in tail.read(everything=True)] == ["tw"]


def test_a_flood_is_cut_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "rank-0.log"
    log.write_text("line\n" * MOST_LOG)
    warning, rest = LogTail(log).read()
    assert warning["event"] == "warning" and str(4 * MOST_LOG) in warning["text"]
    assert len(json.dumps(rest)) < 3 * MOST_LOG
