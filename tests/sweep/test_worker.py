"""Whole sweeps of trials that only pretend to train: what is chosen, pruned, killed, gone on with."""

import contextlib
import json
import os
import signal
from collections.abc import Callable

import pytest

pytest.importorskip("optuna")

from launcher import store, waiting
from launcher.attempt import StopRequest
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.jobfile import parse
from launcher.sweep import board, devices, folder, outcome, storage
from launcher.sweep.storage import JournalLock
from launcher.sweep.worker import Worker
from tests.sweep.conftest import SWEEP, Toy
from tests.sweep.fake_trial import STEPS

PATIENCE = 90.0
LEARNING = SWEEP.replace("trials: 6", "trials: 12") + "pruner: {kind: median, startup: 3, warmup: 1}\n"


def starts(toy: Toy, number: int) -> int:
    return len((toy.run_dir(number) / "starts").read_text().splitlines())


def test_each_trial_is_a_run_that_says_which_one_it_is(toy: Toy) -> None:
    assert toy.start()
    rows = toy.rows()
    assert [row[:2] for row in rows] == [(number, "complete") for number in range(6)]
    assert all(value == (each["task.args.x"] - 0.3) ** 2 + each["task.args.y"] + 0.2 for *_, value, each in rows)
    about = json.loads((toy.run_dir(4) / "record.json").read_text())["sweep"]
    assert about == {"id": toy.sweep_dir.name, "trial": 4, "settings": rows[4][3]}
    assert store.record(toy.run_dir(4)).state == "SUCCEEDED" and len(store.ids(toy.runs)) == 6


def test_the_best_is_repeated_by_a_line_and_by_a_file(toy: Toy) -> None:
    toy.start("training.seed=3")
    opened = folder.opened(toy.sweep_dir)
    best = outcome.needed_best(opened)
    assert best.value == min(row[2] for row in toy.rows())
    x, y = (best.settings[f"task.args.{name}"] for name in "xy")
    line = f"launcher run {toy.path}/job.yaml --set training.seed=3 --set task.args.x={x!r} --set task.args.y={y}"
    assert outcome.command(opened, best) == line
    outcome.write_job(opened, best, toy.path / "best.yaml")
    assert parse((toy.path / "best.yaml").read_bytes(), source="best.yaml").task.args == {"x": x, "y": y}


def test_a_pruned_trial_is_stopped_and_its_run_says_so(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.05")
    toy.write(sweep=LEARNING)
    toy.start()
    found = outcome.read(folder.opened(toy.sweep_dir))
    pruned = [row for row in found.rows if row.state == "pruned"]
    assert pruned and found.counts()["complete"] >= 3
    events = list(store.events(store.RunFolder(toy.run_dir(pruned[0].number))))
    assert events[-1]["event"] == "pruned" and (events[-1]["step"], events[-1]["metric"]) == (pruned[0].step, "score")


def test_a_killed_sweep_goes_on_and_makes_the_same_trials(toys: Callable[..., Toy]) -> None:
    toy, again = toys("toy", LEARNING), toys("again", LEARNING)
    toy.start()
    for step in (2, 6):
        process = again.worker("start" if step == 2 else "resume", FAKE_SECONDS="0.1")
        assert waiting.until(
            lambda number=step: (again.path / "runs/sweeps").is_dir() and begun(again, number), PATIENCE
        )
        process.kill()
        process.wait()
    assert again.worker("resume").wait(PATIENCE) == 0
    assert again.rows() == toy.rows()


def begun(toy: Toy, number: int) -> bool:
    """Whether a trial has made a step, of several."""
    with contextlib.suppress(ValueError, RequestError, OSError):
        return (toy.run_dir(number) / "metrics.jsonl").exists()
    return False


def test_a_trial_in_flight_is_gone_on_with_and_not_repeated(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KILL", "2@4")  # its launcher, by kill -9
    toy.start()
    assert [starts(toy, number) for number in range(6)] == [1, 1, 2, 1, 1, 1]
    assert len((toy.run_dir(2) / "metrics.jsonl").read_text().splitlines()) == STEPS
    assert toy.rows()[2][1] == "complete"


def test_a_stopped_sweep_lets_its_trials_save_and_goes_on_with_them(toy: Toy) -> None:
    process = toy.worker("start", FAKE_SECONDS="0.3")
    assert waiting.until(lambda: (toy.runs / "sweeps").is_dir() and begun(toy, 0), PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 1
    assert store.record(toy.run_dir(0)).state == "STOPPED" and toy.rows()[0][1] == "interrupted"
    assert toy.worker("resume").wait(PATIENCE) == 0
    assert starts(toy, 0) == 2 and [row[1] for row in toy.rows()] == ["complete"] * 6


def test_a_stop_that_comes_when_all_trials_are_over_stops_nothing(toy: Toy) -> None:
    sweep = folder.read(toy.path / "job.yaml", toy.path / "sweep.yaml", [], toy.runs, None)
    folder.write(sweep)
    stop = StopRequest()
    stop.signals.append(signal.SIGTERM)
    with storage.opened(sweep) as kept:
        trials = board.create(kept, sweep)
        assert not Worker(sweep, trials, toy.events.append, stop).work()
        for trial in trials.trials():
            trials.finish(trial, board.Ended(state="failed"))
        assert Worker(sweep, trials, toy.events.append, stop).work()


def test_parallel_trials_know_only_what_the_rule_lets_them(toys: Callable[..., Toy]) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core is not shared out")
    quick, slow = (toys(name, LEARNING + "parallel: 2\n") for name in ("quick", "slow"))
    quick.start()
    assert slow.worker("start", FAKE_KILL="3@2", FAKE_SECONDS="0.02").wait(PATIENCE) == 0
    assert slow.rows() == quick.rows()


def test_a_metric_that_no_trial_reports_ends_the_sweep_with_the_nearest_name(toy: Toy) -> None:
    toy.write(sweep=SWEEP.replace("metric: score", "metric: scroe"))
    with pytest.raises(RequestError, match=r"reports no scroe \(did you mean score\?\)"):
        toy.start()


def test_settings_that_do_not_fit_together_fail_their_trial_alone(toy: Toy) -> None:
    space = "space:\n  training.accumulate: {choice: [1, 3]}\n  task.args.x: {choice: [0.5]}\n"
    toy.write(sweep=f"metric: score\nsampler: grid\n{space}")
    assert toy.start()
    found = outcome.read(folder.opened(toy.sweep_dir))
    assert [row.state for row in found.rows] == ["complete", "failed"]
    assert found.rows[1].reason and "cannot be shared out equally" in found.rows[1].reason


def test_nothing_is_written_where_the_sweep_file_is_wrong(toy: Toy) -> None:
    toy.write(sweep=SWEEP.replace("task.args.x", "task.args.z"))
    with pytest.raises(RequestError):
        toy.start()
    assert not toy.runs.exists()


def test_nothing_is_written_where_the_trials_have_no_core_each(toy: Toy) -> None:
    toy.write(sweep=SWEEP + "parallel: 1000\n")
    with pytest.raises(EnvironmentUnfit, match="have no core each"):
        toy.start()
    assert not toy.runs.exists()


def test_the_half_line_of_a_killed_writer_does_not_spoil_the_journal(toy: Toy) -> None:
    toy.start()
    before = toy.rows()
    journal = folder.opened(toy.sweep_dir).journal
    with journal.open("a") as file:
        file.write('{"op_code": 4, "worker')
    lock = JournalLock(journal)
    lock.acquire()
    lock.release()
    assert journal.read_text().endswith("}\n") and toy.rows() == before


def test_a_share_is_told_to_the_trial_so_that_it_can_be_repeated_alone() -> None:
    job = parse(b"name: a\ntask: {target: a.py:b}\ntraining: {steps: 1}\n", source="a")
    assert devices.settings(job, devices.Share(gpus=2, cores=8), 4) == ["resources.procs_per_node=2", "local.threads=4"]
    assert devices.settings(job, devices.Share(gpus=8, cores=32), 1) == []
