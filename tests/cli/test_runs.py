import json
import threading
import time
from pathlib import Path

import click
import pytest

from launcher.store import RunFolder

from .conftest import RECORD, Cli, finished_run

FAILED = {"rank": 0, "host": "h", "type": "ValueError", "message": "no\nsuch", "traceback": "", "log": "l", "hint": "h"}


def log_of(runs: Path, run_id: str = RECORD.run_id, attempt: int = 1, rank: int = 0) -> Path:
    path = RunFolder(runs / run_id).rank_log(attempt, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_runs_are_listed_with_the_newest_last(launcher: Cli, runs: Path) -> None:
    finished_run(runs)
    finished_run(runs, run_id="gpt-20261122T000000-00ff", state="FAILED", metrics={}, step=7, total_steps=None)
    assert launcher("runs").out.splitlines() == [
        "RUN                       STATE      STEP     ATTEMPTS  METRICS",
        "mlp-20261121T225500-ab12  SUCCEEDED  300/300  1         accuracy 0.9722",
        "gpt-20261122T000000-00ff  FAILED     7        1",
    ]


def test_on_a_terminal_a_line_is_a_run(launcher: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run(runs, metrics={f"metric_{n}": 1.0 for n in range(9)})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    _, line = launcher("runs").out.splitlines()
    assert len(click.unstyle(line)) == 70 and line.endswith("…") and RECORD.run_id in line


def test_no_runs_are_no_error(launcher: Cli, runs: Path) -> None:
    said = launcher("runs")
    assert (said.code, said.out) == (0, "") and "launcher run SPEC" in said.err


def test_runs_as_json_are_their_records(launcher: Cli, runs: Path) -> None:
    record = finished_run(runs)
    assert json.loads(launcher("runs", "--json").out) == [record.to_json()]


def test_show_tells_all_of_a_run(launcher: Cli, runs: Path) -> None:
    finished_run(runs, state="FAILED", root_cause=FAILED)
    said = launcher("show", "latest").out
    assert "state           FAILED\n" in said and "rank 0 on h failed: ValueError: no\n  such\n" in said


def test_show_as_json_is_the_record(launcher: Cli, runs: Path) -> None:
    record = finished_run(runs)
    assert json.loads(launcher("show", record.run_id, "--json").out) == record.to_json()


def test_logs_are_printed_byte_for_byte(launcher: Cli, runs: Path) -> None:
    finished_run(runs)
    log_of(runs, rank=1).write_bytes("é\x1b[1m\r\n".encode())
    assert launcher("logs", "latest", "--rank", "1").out == "é\x1b[1m\r\n"


def test_a_rank_without_a_log_is_answered_with_those_that_have_one(launcher: Cli, runs: Path) -> None:
    finished_run(runs)
    for rank in (0, 1, 2, 5):
        log_of(runs, rank=rank).touch()
    said = launcher("logs", "latest", "--rank", "9")
    assert said.code == 2 and "no log of rank 9 in attempt 1; there are logs of ranks 0-2, 5" in said.err


def test_following_a_run_that_is_over_prints_all_attempts_and_ends(launcher: Cli, runs: Path) -> None:
    finished_run(runs, attempts=2)
    log_of(runs, attempt=1).write_text("first\n")
    log_of(runs, attempt=2).write_text("second\n")
    assert launcher("logs", "latest", "--follow").out == "first\nsecond\n"


def test_following_ends_when_the_run_does(launcher: Cli, runs: Path) -> None:
    record = finished_run(runs)
    folder = RunFolder(Path(record.run_dir))
    result = folder.result.read_bytes()
    folder.result.write_text(json.dumps({**record.to_json(), "state": "RUNNING"}))
    log_of(runs).write_text("early\n")

    def finish() -> None:
        time.sleep(0.3)
        with log_of(runs).open("a") as log:
            log.write("late\n")
        folder.result.write_bytes(result)

    writer = threading.Thread(target=finish)
    writer.start()
    assert launcher("logs", "latest", "--follow").out == "early\nlate\n"
    writer.join()
