import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.store import RunRecord

from .conftest import RECORD, Cli, finished_run

CAUSE = {"rank": 1, "node": 0, "host": "gpu-7", "kind": "user", "type": "ValueError", "message": "bad", "log": "x.log"}
FAILED = dataclasses.replace(RECORD, state="FAILED", exit_code=1, weights_sha256=None, root_cause=CAUSE)


class FakeLaunch:
    """Stands for the use cases: keeps what it was asked, tells its events, and returns its record."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.asked: list[Any] = []
        self.events: list[dict[str, Any]] = [{"event": "warning", "text": "careful"}]

    def run(self, *asked: Any, listener: Any, **options: Any) -> RunRecord:
        self.asked.append((*asked, options))
        for event in self.events:
            listener(event)
        return self.record

    resume = run

    def stop(self, *asked: Any, **options: Any) -> RunRecord:
        self.asked.append((*asked, options))
        return self.record

    def describe(self, *asked: Any, **options: Any) -> dict[str, Any]:
        self.asked.append((*asked, options))
        command = {"node": 0, "command": "python -m launcher.node", "stdin": {"plan": {"nodes": 2}, "node_rank": 0}}
        return {"plan": {"nodes": 2}, "commands": [command]}


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, runs: Path) -> FakeLaunch:
    fake = FakeLaunch(dataclasses.replace(RECORD, run_dir=str(runs / RECORD.run_id)))
    for name in ("run", "resume", "describe"):
        monkeypatch.setattr(f"launcher.launch.{name}", getattr(fake, name))
    monkeypatch.setattr("launcher.stopping.stop", fake.stop)
    return fake


def test_a_run_is_asked_for_as_typed(launcher: Cli, launch: FakeLaunch, tmp_path: Path) -> None:
    launcher("run", "mlp.yaml", "--runs-dir", tmp_path, "--resume", "auto", "--detach")
    assert launch.asked == [
        (Path("mlp.yaml"), [], {"runs_dir": tmp_path, "resume": "auto", "source": None, "detach": True})
    ]


def test_short_options_are_settings_of_the_job_file(launcher: Cli, launch: FakeLaunch) -> None:
    launcher(
        "run", "mlp.yaml", "--set", "a=1", "--nodes", "2", "--procs-per-node=auto", "--backend", "ssh", "--set", "b=2"
    )
    settings = ["a=1", "b=2", "resources.nodes=2", "resources.procs_per_node=auto", "backend=ssh"]
    assert launch.asked[0][1] == settings


def test_a_success_is_summed_up(launcher: Cli, launch: FakeLaunch, runs: Path) -> None:
    said = launcher("run", "mlp.yaml")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "warning: careful",
        f"SUCCEEDED · {RECORD.run_id} · step 300/300 · accuracy 0.9722",
        f"weights_sha256 {'ab' * 32}",
        f"run folder {runs}/{RECORD.run_id}",
    ]


def test_a_failure_says_its_cause_first_and_how_to_go_on(launcher: Cli, launch: FakeLaunch) -> None:
    launch.record = dataclasses.replace(FAILED, run_dir=f"/elsewhere/{RECORD.run_id}")
    said = launcher("run", "mlp.yaml")
    assert said.code == 1
    assert said.err.splitlines() == [
        "launcher: rank 1 on gpu-7 failed: ValueError: bad",
        "  log:   x.log",
        f"  go on: launcher resume {RECORD.run_id} --runs-dir /elsewhere",
    ]


def test_the_way_to_go_on_is_said_once(launcher: Cli, launch: FakeLaunch) -> None:
    cause = {**CAUSE, "hint": f"launcher resume {RECORD.run_id}"}
    launch.record = dataclasses.replace(launch.record, state="FAILED", exit_code=1, root_cause=cause)
    assert launcher("run", "mlp.yaml").err.count("launcher resume") == 1


def test_a_stopped_run_says_how_to_go_on(launcher: Cli, launch: FakeLaunch) -> None:
    launch.record = dataclasses.replace(launch.record, state="STOPPED", exit_code=130)
    said = launcher("run", "mlp.yaml")
    assert said.code == 130 and f"go on: launcher resume {RECORD.run_id}\n" in said.out


def test_json_is_events_and_then_the_record(launcher: Cli, launch: FakeLaunch) -> None:
    said = launcher("run", "mlp.yaml", "--json")
    first, last = (json.loads(line) for line in said.out.splitlines())
    assert first == {"event": "warning", "text": "careful"}
    assert last == {"event": "record", **json.loads(json.dumps(launch.record.to_json()))}


def test_a_run_in_the_background_is_left_alone(launcher: Cli, launch: FakeLaunch) -> None:
    launch.record = dataclasses.replace(launch.record, state="RUNNING", exit_code=None)
    said = launcher("run", "mlp.yaml", "--detach")
    assert said.code == 0 and f"launcher logs {RECORD.run_id} --follow\n" in said.out


def test_a_dry_run_prints_the_plan_and_the_commands(launcher: Cli, launch: FakeLaunch) -> None:
    said = launcher("run", "mlp.yaml", "--dry-run", "--nodes", "2")
    assert yaml.safe_load(said.out) == launch.describe()
    assert launch.asked[0][1] == ["resources.nodes=2"]


def test_a_dry_run_prints_the_plan_once(launcher: Cli, launch: FakeLaunch) -> None:
    assert launcher("run", "mlp.yaml", "--dry-run").out.count("nodes: 2") == 1


@pytest.mark.parametrize("option", ["--json", "--detach"])
def test_a_dry_run_takes_no_option_it_would_ignore(launcher: Cli, launch: FakeLaunch, option: str) -> None:
    said = launcher("run", "mlp.yaml", "--dry-run", option)
    assert said.code == 2 and launch.asked == []


def test_a_run_is_resumed_by_the_beginning_of_its_id(launcher: Cli, launch: FakeLaunch, runs: Path) -> None:
    record = finished_run(runs)
    assert launcher("resume", "mlp", "--detach").code == 0
    assert launch.asked == [(Path(record.run_dir), {"detach": True})]


@pytest.mark.parametrize(("state", "code"), [("STOPPED", 0), ("FAILED", 1)])  # failed: it was stuck and was killed
def test_a_run_is_stopped(launcher: Cli, launch: FakeLaunch, runs: Path, state: Any, code: int) -> None:
    record = finished_run(runs)
    launch.record = dataclasses.replace(record, state=state, exit_code=130)
    said = launcher("stop", "latest")
    assert (said.code, launch.asked[0][0]) == (code, Path(record.run_dir))
    assert said.out.startswith(f"{state} · {record.run_id}")
    assert said.out.count(f"go on: launcher resume {record.run_id}") == 1


@pytest.mark.parametrize("command", ["show", "logs", "stop", "resume"])
def test_a_run_that_does_not_exist_is_a_wrong_request(launcher: Cli, runs: Path, command: str) -> None:
    finished_run(runs)
    said = launcher(command, "mpl-2026")
    assert said.code == 2 and said.err.startswith("launcher: mpl-2026: no such run")


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.EIO, "the terminal was closed")])
def test_the_run_goes_on_when_nobody_reads_any_more(error: OSError) -> None:
    from launcher.cli.progress import unheard

    told: list[Any] = []

    def broken(event: Any) -> None:
        told.append(event)
        raise error

    listener = unheard(broken)
    listener({"event": "a"})
    listener({"event": "b"})
    assert told == [{"event": "a"}]
