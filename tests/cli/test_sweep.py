"""The command's words: what it passes on and what it says; whole sweeps are tested in tests/sweep."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

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


@pytest.mark.parametrize("command", ["resume", "status", "best", "plot"])
def test_a_sweep_that_does_not_exist_is_a_wrong_request(launcher: Cli, tmp_path: Path, command: str) -> None:
    said = launcher("sweep", command, "nope", "--runs-dir", tmp_path)
    assert said.code == 2 and said.err.startswith(f"launcher: {tmp_path}/sweeps: no sweeps here\n")


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
