"""Following one metric, and the schedule."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, ReduceLROnPlateau

from launcher import Task
from launcher.errors import JobFailed, RequestError
from launcher.worker import timetable
from launcher.worker.best import Best
from launcher.worker.schedule import Schedule
from tests.worker import ranks


@pytest.mark.parametrize(("mode", "better"), [("min", [True, False, True, False]), ("max", [True, True, False, True])])
def test_the_best_value_is_the_first_of_its_size(mode: Any, better: list[bool]) -> None:
    best = Best("early_stop.metric", "loss", mode)
    assert [best.see({"loss": value}) for value in (0.5, 0.6, 0.4, 0.7)] == better
    assert best.see({"loss": best.value or 0}) is False


def test_misses_are_counted_since_the_best_one() -> None:
    best = Best("early_stop.metric", "loss", "min")
    misses = [(best.see({"loss": value}), best.misses)[1] for value in (3.0, 4.0, math.nan, 2.0, 2.0)]
    assert misses == [0, 1, 2, 0, 1]


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(RequestError) as caught:
        Best("checkpoint.best.metric", "acuracy", "max").see({"accuracy": 1.0, "loss": 0.0})
    assert "checkpoint.best.metric" in caught.value.message and caught.value.hint == "did you mean accuracy?"


def schedule(tmp_path: Path, scheduler: Any, **more: Any) -> tuple[Schedule, Any]:
    plan = ranks.plan_of(ranks.job("classifier", training={"epochs": 2}), tmp_path)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    data = torch.utils.data.TensorDataset(torch.zeros(36))
    task = Task(model=model, optimizer=optimizer, data=data, scheduler=scheduler(optimizer), **more)
    return Schedule(task, timetable.make(plan, 36)), optimizer


def test_a_schedule_may_be_made_of_the_number_of_steps(tmp_path: Path) -> None:
    made, optimizer = schedule(tmp_path, lambda optimizer: lambda steps: CosineAnnealingLR(optimizer, steps))
    for step in range(1, 7):
        made.advance(step)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0)


def test_a_schedule_may_advance_with_the_epochs(tmp_path: Path) -> None:
    made, optimizer = schedule(tmp_path, lambda optimizer: MultiStepLR(optimizer, [1, 2], 0.5), scheduler_every="epoch")
    optimizer.step()
    rates = []
    for step in range(1, 7):
        made.advance(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1, 1, 0.5, 0.5, 0.5, 0.25]


def test_a_skipped_first_step_of_the_optimizer_gives_no_warning(tmp_path: Path) -> None:
    made, _ = schedule(tmp_path, lambda optimizer: MultiStepLR(optimizer, [1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.advance(1)


def test_a_schedule_goes_on_from_its_state(tmp_path: Path) -> None:
    made, _ = schedule(tmp_path, lambda optimizer: MultiStepLR(optimizer, [1, 3]))
    made.advance(1)
    again, _ = schedule(tmp_path, lambda optimizer: MultiStepLR(optimizer, [1, 3]))
    again.load({key: dict(value) if key == "milestones" else value for key, value in (made.state() or {}).items()})
    assert again.state() == made.state()
    assert type(again.scheduler.milestones) is type(made.scheduler.milestones)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [ReduceLROnPlateau, lambda optimizer: lambda steps: "cosine"])
def test_what_is_no_schedule_over_steps_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(JobFailed, match="the task's scheduler is"):
        schedule(tmp_path, wrong)
