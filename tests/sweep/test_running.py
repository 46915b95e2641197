"""What a trial's worker takes in of its run, and what it makes of the end; no process is begun."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("optuna")

from optuna.trial import TrialState, create_trial

from launcher.errors import RequestError
from launcher.store import RunFolder
from launcher.sweep import folder
from launcher.sweep.choice import Judge
from launcher.sweep.running import Running
from tests.sweep.conftest import SWEEP, Toy

PRUNED = SWEEP + "pruner: {kind: median}\n"


class Strict(Judge):
    """Ends a trial at the first value that is no number."""

    def ends(self, step: int, value: float) -> bool:
        return super().ends(step, value) or math.isnan(value)


@pytest.fixture
def running(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Running]:
    """A trial of this sweep whose run has written these validations, and told of some, and ended."""
    monkeypatch.setattr(Running, "_start", lambda self: setattr(self, "_process", SimpleNamespace(returncode=0)))
    monkeypatch.setattr(Running, "over", lambda self: True)

    def make(sweep_file: str, written: dict[int, Any], *, told: tuple[int, ...] = (), end: Any = None) -> Running:
        toy.write(sweep=sweep_file)
        sweep = folder.read(toy.path / "job.yaml", toy.path / "sweep.yaml", [], toy.runs, None)
        run = RunFolder(toy.runs / "toy-trial-0000")
        run.path.mkdir(parents=True)
        _write(run.metrics, [{"step": step, "validation": metrics} for step, metrics in written.items()])
        _write(run.events, [{"event": "validated", "step": step, "metrics": written[step]} for step in told])
        run.result.write_text(json.dumps({"state": "SUCCEEDED", "exit_code": 0, "step": 9, "metrics": end or {}}))
        return Running(create_trial(state=TrialState.WAITING), run, None, Strict(sweep.spec, []), sweep)

    return make


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_lost_event_is_made_up_for_by_the_metrics_line(running: Callable[..., Running]) -> None:
    trial = running(PRUNED, {step: {"score": 1 / step} for step in (1, 2, 4)}, told=(1, 4))
    trial.look()
    assert trial._values == {1: 1.0, 2: 0.5, 4: 0.25}


def test_a_metric_may_be_one_that_only_the_record_ends_with(running: Callable[..., Running]) -> None:
    ended = running(SWEEP, {1: {"loss": 3.0}}, told=(1,), end={"loss": 3.0, "score": 2.0}).ended()
    assert ended is not None and (ended.state, ended.value, ended.values) == ("complete", 2.0, {})


def test_a_metric_that_is_missing_in_the_end_ends_the_sweep(running: Callable[..., Running]) -> None:
    trial = running(SWEEP, {1: {"loss": 3.0}}, end={"loss": 3.0})
    trial.look()
    with pytest.raises(RequestError, match="reports no score"):
        trial.ended()


def test_a_pruner_needs_the_metric_at_once(running: Callable[..., Running]) -> None:
    with pytest.raises(RequestError, match="reports no score"):
        running(PRUNED, {1: {"loss": 3.0}}, told=(1,)).look()


def test_a_trial_pruned_at_no_number_has_no_value(running: Callable[..., Running]) -> None:
    ended = running(PRUNED, {1: {"score": None}}).ended()
    assert ended is not None and (ended.state, ended.value) == ("pruned", None)
