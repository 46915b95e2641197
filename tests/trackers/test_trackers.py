"""Mirrors hold what the run's files hold, go on after a resume, and never harm the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from launcher import jobfile, mirrors, plan, trackers
from launcher.errors import RequestError
from launcher.mirrors import Mirrors
from launcher.plan import Machine, Plan
from launcher.store import RunFolder
from launcher.trackers.prometheus import Endpoint
from launcher.trackers.tail import Tail

ROOT = Path(__file__).parents[2]
MIRRORS = ("csv", "tensorboard", "mlflow", "wandb")
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
    record = {"git": {"commit": "c0ffee"}, "versions": {"torch": "2.13.0"}, "host": "here", "environment": "ab" * 32}
    folder.record.write_text(json.dumps(record))
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
    settings = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert all(word in settings for word in (b"task.args.width", b"git_commit", b"c0ffee", b"environment"))


@pytest.fixture(params=["in a file of its own", "at a server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """Where MLFLOW_TRACKING_URI leads: nowhere, or to a real `mlflow server`."""
    if request.param == "in a file of its own":
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    where = ["--host", "127.0.0.1", "--port", port, "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--gunicorn-opts", "--threads 2", *where],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):  # noqa: S310  (our own server's)
            return True
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
def test_mlflow_goes_on_with_its_run_and_repeats_nothing(run: tuple[RunFolder, Plan], store: str | None) -> None:
    from mlflow.tracking import MlflowClient

    folder = run[0]
    where = {"MLFLOW_TRACKING_URI": store} if store else {}
    mirror(folder, "mlflow", **where)
    write(folder, [*LINES, {"step": 6, "epoch": 2, "loss": 0.25, "lr": 0.1}])
    mirror(folder, "mlflow", **where)
    client = MlflowClient(tracking_uri=store or f"sqlite:///{folder.path.parent / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("t").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["task.args.width"] == "3" and found.data.tags["git_commit"] == "c0ffee"
    assert found.data.tags["environment"] == "ab" * 32
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(2, 0.5), (6, 0.25)]


def test_wandb_writes_its_run_offline(run: tuple[RunFolder, Plan]) -> None:
    mirror(run[0], "wandb", WANDB_MODE="offline")
    (written,) = (run[0].path / "wandb").glob("offline-run-*/*.wandb")
    assert run[0].path.name in written.name
    assert all(word in written.read_bytes() for word in (b"task.args.width", b"c0ffee", b"validation/accuracy"))


def test_prometheus_reads_the_newest_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.trackers.prometheus._gpus", lambda: iter([(0, 0.5)]))
    folder, _ = make_run(tmp_path)
    endpoint = Endpoint(trackers.describe(folder, {}))
    endpoint.log(4, {"loss": 0.5, "validation/accuracy": 0.75})
    endpoint.event({"event": "progress", "step": 5, "steps_per_second": 2.5, "loss": None})
    endpoint.event({"event": "checkpoint", "time": "2026-11-22T00:00:00+00:00"})
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics") as answer:
        text = answer.read().decode()
    endpoint.close("SUCCEEDED")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {family.type for family in families.values()} == {"gauge"}
    figures = {name.removeprefix("launcher_"): family.samples[0] for name, family in families.items()}
    assert {sample.labels["run"] for sample in figures.values()} == {folder.path.name}
    assert {name: figures[name].value for name in ("step", "loss", "validation_accuracy", "steps_per_second")} == {
        "step": 5, "loss": 0.5, "validation_accuracy": 0.75, "steps_per_second": 2.5
    }  # fmt: skip
    assert figures["checkpoint_age_seconds"].value > 0
    assert (figures["gpu_busy_ratio"].labels["gpu"], figures["gpu_busy_ratio"].value) == ("0", 0.5)


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
    """One that fails, MLflow without a place to write to, is told of; the run and the others never notice."""
    settings = ["training.epochs=1", "training.log_every=5"] + [f"trackers.{name}=true" for name in MIRRORS]
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "run", "jobs/mlp.yaml", "--runs-dir", str(tmp_path)]
        + [word for setting in settings for word in ("--set", setting)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "nonsense://nowhere"},
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len((folder / "metrics.csv").read_text().splitlines()) == 6
    assert list((folder / "tensorboard").iterdir())
    (written,) = (folder / "wandb").glob("offline-run-*/*.wandb")  # by a process that W&B's own starts in the meantime
    assert b"validation_loss" in written.read_bytes()
    told = done.stdout + done.stderr
    assert told.count(b"tracker mlflow failed, and the run goes on without it") == told.count(b"tracker ") == 1
    assert len(json.loads((folder / "record.json").read_text())["environment"]) == 64
