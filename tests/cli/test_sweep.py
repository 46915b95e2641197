"""The command's words: what it passes on and what it says; whole sweeps are tested in tests/sweep."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

from launcher import detaching, shell, waiting
from tests.cli.conftest import Cli
from tests.sweep.conftest import Toy, toy, toys

__all__ = ["toy", "toys"]  # fixtures


@pytest.fixture
def swept(toy: Toy) -> Toy:
    toy.start()
    return toy


def test_a_sweep_is_told_trial_by_trial_and_ends_with_the_best(
    launcher: Cli, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml"
    said = launcher("sweep", *files, "--runs-dir", toy.runs)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == f"{toy.sweep_dir.name}: 6 trials"
    assert lines[2].startswith("trial 0: task.args.x 0.") and lines[3].startswith("trial 0 complete: ")
    assert lines[-2].startswith("best: trial ") and len(lines) == 2 + 12 + 2


def test_events_are_json_lines_on_request(launcher: Cli, toy: Toy) -> None:
    files = toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml"
    said = launcher("sweep", "--json", *files, "--runs-dir", toy.runs)
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["event"] for event in events] == ["sweep", *["trial"] * 12, "best"]


def test_status_best_and_plot_show_what_came_of_it(launcher: Cli, swept: Toy) -> None:
    where = "latest", "--runs-dir", swept.runs
    status = launcher("sweep", "status", *where).out.splitlines()
    assert status[0] == f"{swept.sweep_dir.name}: min score by tpe · 6 complete" and status[1].startswith("TRIAL")
    told = json.loads(launcher("sweep", "status", *where, "--json").out)
    assert [trial["number"] for trial in told["trials"]] == list(range(6))
    best = json.loads(launcher("sweep", "best", *where, "--json").out)
    assert best["number"] == told["best"] and best["command"].startswith("launcher run ")
    assert launcher("sweep", "plot", *where).out.startswith("score by trial\n")


def test_the_best_is_written_as_a_job_file(launcher: Cli, swept: Toy) -> None:
    output = swept.path / "best.yaml"
    said = launcher("sweep", "best", swept.sweep_dir.name[:9], "--output", output, "--runs-dir", swept.runs)
    assert said.out.endswith(f"again: launcher run {output}\n")
    assert yaml.safe_load(output.read_text())["task"]["args"].keys() == {"x", "y"}
    elsewhere = launcher("sweep", "best", "latest", "--output", "/x/b.yaml", "--runs-dir", swept.runs)
    assert elsewhere.code == 2 and f"--output {swept.path}/b.yaml" in elsewhere.err


def test_a_report_is_of_a_sweep_where_the_name_is_ones(launcher: Cli, swept: Toy) -> None:
    said = launcher("report", "toy-sweep", "--runs-dir", swept.runs)
    assert said.out == f"{swept.sweep_dir}/report.html\n" and "best so far" in Path(said.out.strip()).read_text()
    refused = launcher("report", "toy-sweep", "--parent", "toy-trial-0001", "--runs-dir", swept.runs)
    assert refused.code == 2 and "--parent is what a run is held against" in refused.err
    run = launcher("report", "toy-trial-0001", "--runs-dir", swept.runs)
    assert run.out.endswith("/report.html\n") and "toy-trial-0001" in run.out


@pytest.mark.parametrize("command", ["resume", "stop", "status", "best", "plot"])
def test_a_sweep_that_does_not_exist_is_a_wrong_request(launcher: Cli, tmp_path: Path, command: str) -> None:
    said = launcher("sweep", command, "nope", "--runs-dir", tmp_path)
    assert said.code == 2 and said.err.startswith(f"launcher: {tmp_path}/sweeps: no sweeps here\n")


def test_a_sweep_is_told_from_a_run(launcher: Cli, swept: Toy) -> None:
    said = launcher("stop", "toy-sweep", "--runs-dir", swept.runs)
    assert said.code == 2 and said.err.startswith(
        "launcher: toy-sweep: a sweep, not a run\nhint: launcher sweep --help"
    )


def test_a_mistyped_command_is_answered_with_the_nearest(launcher: Cli) -> None:
    said = launcher("sweep", "staus", "latest")
    assert said.code == 2 and said.err.startswith("launcher: there is no command 'staus' (did you mean status?)\n")


def test_a_sweep_over_a_key_that_the_job_lacks_starts_nothing(launcher: Cli, toy: Toy) -> None:
    (toy.path / "sweep.yaml").write_text("metric: score\ntrials: 1\nspace: {task.args.xx: {int: [1, 2]}}\n")
    said = launcher("sweep", toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml", "--runs-dir", toy.runs)
    assert said.code == 2 and not toy.runs.exists()
    assert said.err == (
        f"launcher: {toy.path}/sweep.yaml:3 space.task.args.xx: the job has no such key (did you mean task.args.x?)\n"
    )


def test_a_missing_extra_is_named(launcher: Cli, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = launcher("sweep", toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml", "--runs-dir", toy.runs)
    assert said.code == 2 and "hint: pip install 'launcher[sweep]'" in said.err


def test_where_every_trial_fails_the_exit_code_says_so(launcher: Cli, toy: Toy) -> None:
    (toy.path / "sweep.yaml").write_text(
        "metric: score\nsampler: grid\nspace: {training.accumulate: {choice: [3, 5]}}\n"
    )
    said = launcher("sweep", toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml", "--runs-dir", toy.runs)
    assert said.code == 1 and said.out.endswith("best: no trial is complete\n")


def test_the_sweeps_are_listed_with_how_far_each_is(launcher: Cli, swept: Toy) -> None:
    sweep_dir = swept.sweep_dir
    (sweep_dir.parent / "old-sweep-20250101T000000-0000").mkdir()
    head, damaged, whole = launcher("sweep", "list", "--runs-dir", swept.runs).out.splitlines()
    assert head.split() == ["SWEEP", "STATE", "TRIALS", "BEST"]
    assert damaged.split()[1] == "UNKNOWN" and "not the folder of a sweep" in damaged
    assert whole.startswith(f"{sweep_dir.name}  COMPLETE  6 complete") and "score 0." in whole
    told = json.loads(launcher("sweep", "list", "--json", "--runs-dir", swept.runs).out)
    assert told[1]["best"]["trial"] == min(swept.rows(sweep_dir), key=lambda row: row[2])[0]


def test_no_sweep_is_an_empty_list(launcher: Cli, tmp_path: Path) -> None:
    said = launcher("sweep", "list", "--runs-dir", tmp_path)
    assert (said.code, said.out) == (0, "") and "no sweeps" in said.err


def test_a_sweep_in_the_background_is_stopped_and_goes_on(
    launcher: Cli, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detaching, "begin", lambda words, log, begun: _in_background(toy, begun))
    files = toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml"
    where = "latest", "--runs-dir", toy.runs
    said = launcher("sweep", *files, "--detach", "--runs-dir", toy.runs)
    assert said.code == 0 and f"stop:   launcher sweep stop {toy.sweep_dir.name}" in said.out
    assert launcher("sweep", "list", "--runs-dir", toy.runs).out.splitlines()[1].split()[1] == "RUNNING"
    stopped = launcher("sweep", "stop", *where)
    assert stopped.code == 0 and f"go on: launcher sweep resume {toy.sweep_dir.name}" in stopped.out
    assert toy.workers[0].wait(10) == 1 and "interrupted" in [row[1] for row in toy.rows()]
    again = launcher("sweep", "stop", *where)
    assert again.code == 2 and "nobody works on it" in again.err
    assert launcher("sweep", "resume", *where).code == 0 and toy.rows()[0][1] == "complete"


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit(130)", "os.kill(os.getpid(), 9)"])
def test_a_worker_in_the_background_that_dies_at_once_is_no_sweep_that_is_over(
    launcher: Cli, toy: Toy, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    died = [sys.executable, "-S", "-c", f"import os, sys; {end}"]
    monkeypatch.setattr(shell, "start", lambda *_, **__: subprocess.Popen(died))
    files = toy.path / "job.yaml", "--sweep", toy.path / "sweep.yaml"
    said = launcher("sweep", *files, "--detach", "--runs-dir", toy.runs)
    assert said.code == 3 and "before it took over\nhint: see " in said.err and "best" not in said.out


def test_of_a_sweep_that_is_over_nothing_goes_on_in_the_background(launcher: Cli, swept: Toy) -> None:
    said = launcher("sweep", "resume", "latest", "--detach", "--runs-dir", swept.runs)
    assert said.code == 0 and "\nbest: trial " in said.out and "background" not in said.out


def _in_background(toy: Toy, begun: Callable[[int], object]) -> None:
    worker = toy.worker("resume", FAKE_SECONDS="0.3")
    assert waiting.until(lambda: begun(worker.pid) and any(toy.runs.glob("toy-trial-0000*/metrics.jsonl")), 60)
