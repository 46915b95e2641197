"""`launcher bench compare`, and requests of `bench` that are refused before anything runs."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest

from launcher import store
from launcher.cli import files
from launcher.errors import RequestError
from tests.cli.conftest import Cli
from tests.test_timing import report


def written(folder: Path, name: str, *rounds: float) -> Path:
    file = folder / name
    file.write_text(json.dumps(dataclasses.asdict(report(*rounds))))
    return file


def test_two_reports_within_their_noise_are_no_difference(launcher: Cli, tmp_path: Path) -> None:
    said = launcher(
        "bench", "compare", written(tmp_path, "a", 1.0, 1.01, 1.02), written(tmp_path, "b", 1.01, 1.02, 1.03)
    )
    assert said.code == 0 and "no difference" in said.out and "slower" not in said.out


def test_slower_steps_end_with_1(launcher: Cli, tmp_path: Path) -> None:
    said = launcher("bench", "compare", written(tmp_path, "a", 1.0, 1.0, 1.0), written(tmp_path, "b", 1.2, 1.2, 1.2))
    assert said.code == 1 and "1.200" in said.out and "slower" in said.out


def test_another_file_is_refused_with_how_to_make_one(launcher: Cli, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("{}")
    said = launcher("bench", "compare", tmp_path / "a", tmp_path / "a")
    assert said.code == 2 and "not what `launcher bench` wrote" in said.err and "--json" in said.err


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(launcher: Cli, tmp_path: Path, runs: Path) -> None:
    said = launcher("bench", "jobs/mlp.yaml", "--json", tmp_path / "nowhere" / "a.json")
    assert said.code == 2 and "there is no folder" in said.err and not runs.exists()


@pytest.mark.parametrize(("command", "option"), [("bench", "--json"), ("profile", "--output")])
def test_a_folder_that_may_not_be_written_is_told_before_anything_runs(
    launcher: Cli, tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path) != tmp_path)  # root may write anywhere
    said = launcher(command, "jobs/mlp.yaml", option, tmp_path / "a.json")
    assert said.code == 2 and "cannot be written" in said.err and not runs.exists()


def test_a_disk_that_is_full_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_whole", full)
    with pytest.raises(RequestError, match=r"the page cannot be written \(No space left"):
        files.write(tmp_path / "a.html", "", what="the page", option="--output")


def test_a_job_file_that_is_not_there_is_told_as_by_run(launcher: Cli, tmp_path: Path, runs: Path) -> None:
    assert launcher("bench", tmp_path / "no.yaml").err == launcher("run", tmp_path / "no.yaml").err
