"""What is said of a launcher in the background that does not come to its work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher import detaching, launch, shell
from launcher.errors import EnvironmentUnfit
from launcher.store import RunFolder


def test_one_that_ends_before_it_took_over_is_told_with_its_code_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "launcher.log"
    with pytest.raises(EnvironmentUnfit, match="launcher nonsense ended with exit code 2 before") as told:
        detaching.begin(["nonsense"], log=log, begun=lambda _: False)
    assert told.value.hint == f"see {log}" and "nonsense" in log.read_text()


def test_one_that_ended_with_nothing_left_to_do_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [subprocess.Popen(["false"])]
    monkeypatch.setattr(shell, "start", lambda *_, **__: begun[0])
    detaching.begin(["resume"], log=tmp_path / "log", begun=lambda _: begun[0].poll() is not None)


def test_a_run_is_not_said_to_go_on_where_its_launcher_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = shell.start
    monkeypatch.setattr(shell, "start", lambda _, **options: begin(["true"], **options))
    with pytest.raises(EnvironmentUnfit, match="exit code 0 before it took over"):
        launch._detached(RunFolder(tmp_path / "run"))
