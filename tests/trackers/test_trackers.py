"""Mirrors hold what the run's files hold, go on after a resume, and never harm the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launcher import jobfile, mirrors, plan, trackers
from launcher.errors import RequestError
from launcher.mirrors import Mirrors
from launcher.plan import Machine, Plan
from launcher.store import RunFolder
from launcher.trackers.prometheus import Endpoint
from launcher.trackers.tail import Tail

ROOT = Path(__file__).parents[2]
JOB = b"name: t\ntask: {target: 'a.py:build', args: {width: 3}}\ntraining: {steps: 9}\n"
LINES: list[dict[str, Any]] = [
    {"step": 2, "epoch": 1, "loss": 0.5, "lr": 0.1},
    {"step": 4, "epoch": 1, "loss": None, "lr": 0.1},
    {"step": 4, "epoch": 1, "validation": {"accuracy": 0.75}},
]


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, Plan]:
    return make_run(tmp_path)


def make_run(runs: Path, *settings: str) -> tuple[RunFolder, Plan]:
    folder = RunFolder(runs / "t-20261122T000000-ab12")
    folder.path.mkdir()
    spec = jobfile.parse(JOB, source="job.yaml", overrides=settings)
    made = plan.make(spec, run_id=folder.path.name, run_dir=folder.path, job_dir=runs, machine=Machine(cores=1))
    folder.plan.write_text(json.dumps(made.to_json()))
    folder.record.write_text(json.dumps({"git": {"commit": "c0ffee"}, "versions": {"torch": "2.13.0"}, "host": "here"}))
    write(folder, LINES)
    folder.append_event({"event": "finished", "state": "SUCCEEDED"})
    return folder, made


def write(folder: RunFolder, lines: list[dict[str, Any]]) -> None:
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def mirror(folder: RunFolder, name: str, **environment: str) -> None:
    """Let the tracker's process read what there is, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "launcher.trackers", str(folder.path), name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_csv_is_a_row_a_step(run: tuple[RunFolder, Plan]) -> None:
    mirror(run[0], "csv")
    rows = (run[0].path / "metrics.csv").read_text().splitlines()
    assert rows == ["step,epoch,loss,lr,validation/accuracy", "2,1,0.5,0.1,", "4,1,,0.1,0.75"]


def test_tensorboard_holds_the_scalars_and_the_settings(run: tuple[RunFolder, Plan]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    mirror(run[0], "tensorboard")
    read = EventAccumulator(str(run[0].path / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in read.Scalars("loss")] == [(2, 0.5)]
    assert [(each.step, each.value) for each in read.Scalars("validation/accuracy")] == [(4, 0.75)]
    assert read.summary_metadata["_hparams_/session_start_info"] is not None


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
def test_mlflow_goes_on_with_its_run_and_repeats_nothing(run: tuple[RunFolder, Plan]) -> None:
    from mlflow.tracking import MlflowClient

    folder = run[0]
    mirror(folder, "mlflow")
    write(folder, [*LINES, {"step": 6, "epoch": 2, "loss": 0.25, "lr": 0.1}])
    mirror(folder, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.path.parent / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("t").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["task.args.width"] == "3" and found.data.tags["git_commit"] == "c0ffee"
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(2, 0.5), (6, 0.25)]


def test_wandb_writes_its_run_offline(run: tuple[RunFolder, Plan]) -> None:
    mirror(run[0], "wandb", WANDB_MODE="offline")
    (written,) = (run[0].path / "wandb").glob("offline-run-*/*.wandb")
    assert run[0].path.name in written.name and written.stat().st_size > 0


def test_prometheus_reads_the_newest_figures(tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path)
    endpoint = Endpoint(trackers.describe(folder, {}))
    endpoint.log(4, {"loss": 0.5, "validation/accuracy": 0.75})
    endpoint.event({"event": "progress", "step": 5, "steps_per_second": 2.5, "loss": None})
    endpoint.event({"event": "checkpoint", "time": "2026-11-22T00:00:00+00:00"})
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics") as answer:
        text = answer.read().decode()
    endpoint.close("SUCCEEDED")
    run_label = f'{{run="{folder.path.name}"}}'
    assert f"launcher_loss{run_label} 0.5\n" in text and f"launcher_step{run_label} 5\n" in text
    assert f"launcher_validation_accuracy{run_label} 0.75\n" in text
    assert f"launcher_steps_per_second{run_label} 2.5\n" in text and "launcher_checkpoint_age_seconds" in text


def test_a_line_under_way_is_left_and_a_file_cut_shorter_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert list(tail.read()) == []
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert [line["a"] for line in tail.read()] == [1, 2]
    path.write_text('{"a": 1}\n')
    assert list(tail.read()) == []
    path.write_text('{"a": 1}\n{"a": 3}\n')
    assert [line["a"] for line in tail.read()] == [3]


class Heard:
    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)


def test_a_tracker_that_fails_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made = make_run(tmp_path, "trackers.mlflow=true", "trackers.csv=true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    heard = Heard()
    with Mirrors(folder, made, heard) as running:
        deadline = time.monotonic() + 60
        while not heard.events and time.monotonic() < deadline:
            running.tell({"event": "progress"})
            heard.events = [event for event in heard.events if event["event"] == "warning"]
            time.sleep(0.05)
    assert len(heard.events) == 1
    assert heard.events[0]["text"].startswith("tracker mlflow failed, and the run goes on without it")
    assert (folder.path / "metrics.csv").exists()


def test_a_tracker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made = make_run(tmp_path, "trackers.csv=true")
    monkeypatch.setattr(mirrors, "LAST_WORDS", 0.2)
    heard = Heard()
    with Mirrors(folder, made, heard) as running:
        (process,) = running._running.values()
        os.kill(process.pid, signal.SIGSTOP)
    assert process.poll() is not None
    assert ["it hung and was ended" in event["text"] for event in heard.events] == [True]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = jobfile.parse(JOB, source="job.yaml", overrides=["trackers.wandb=true"])
    with pytest.raises(RequestError, match=r"trackers\.wandb needs the package wandb") as caught:
        trackers.check_installed(spec)
    assert caught.value.hint == "pip install 'launcher[wandb]'"


def test_a_real_run_is_mirrored_to_its_end(tmp_path: Path) -> None:
    settings = ["training.epochs=1", "training.log_every=5", "trackers.csv=true", "trackers.tensorboard=true"]
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "run", "jobs/mlp.yaml", "--runs-dir", str(tmp_path)]
        + [word for setting in settings for word in ("--set", setting)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len((folder / "metrics.csv").read_text().splitlines()) == 6
    assert list((folder / "tensorboard").iterdir())
