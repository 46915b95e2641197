"""The learning-rate schedule of a task."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from launcher.errors import JobFailed
from launcher.task import Task
from launcher.worker.matching import matched
from launcher.worker.timetable import Timetable


class Schedule:
    """Advances the task's scheduler, if there is one, when it is time."""

    def __init__(self, task: Task, timetable: Timetable) -> None:
        self.scheduler = _scheduler(task, timetable.total_steps)
        self.each_epoch = task.scheduler_every == "epoch"
        self.timetable = timetable

    def advance(self, step: int) -> None:
        """To be called after each step."""
        if self.scheduler is None or (self.each_epoch and not self.timetable.ends_epoch(step)):
            return
        if step > 1:
            self.scheduler.step()
            return
        with warnings.catch_warnings():  # fp16: its scaler may have skipped the optimizer's very first step
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.scheduler.step()

    def state(self) -> dict[str, Any] | None:
        return self.scheduler.state_dict() if self.scheduler else None

    def load(self, state: Mapping[str, Any] | None) -> None:
        if self.scheduler is not None:
            Schedulers({"schedule": self.scheduler}).load(state)


class Schedulers:
    """Schedulers that a loop of the task's own advances: here they are only saved and put back."""

    def __init__(self, by_name: Mapping[str, Any]) -> None:
        self.by_name = by_name

    def state(self) -> dict[str, Any] | None:
        """One scheduler's state stands alone, as the native loop's does; several have names."""
        states = {name: each.state_dict() for name, each in self.by_name.items()}
        return next(iter(states.values())) if len(states) == 1 else states or None

    def load(self, state: Mapping[str, Any] | None) -> None:
        saved = apart(state)
        for name, own in matched(saved, self.by_name, "schedule").items() if saved and self.by_name else ():
            each = self.by_name[name]
            each.load_state_dict(with_counters(own, each.state_dict()))


def apart(state: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The schedules of a checkpoint by name; one that stands alone has none."""
    if not state:
        return {}
    several = "last_epoch" not in state and all(isinstance(each, Mapping) for each in state.values())
    return dict(state) if several else {"": state}


def with_counters(state: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """The state with a `Counter` again (MultiStepLR's) wherever `like` has one: a checkpoint holds plain dicts."""
    counters = {key: Counter(state[key]) for key, value in like.items() if isinstance(value, Counter)}
    return {**state, **counters}


def _scheduler(task: Task, total_steps: int) -> LRScheduler | None:
    given = task.scheduler
    scheduler = given if given is None or isinstance(given, LRScheduler) else given(total_steps)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise JobFailed(
            "the task's scheduler is ReduceLROnPlateau, which follows a metric and not the step",
            hint="use a schedule over steps or epochs, such as CosineAnnealingLR",
        )
    if scheduler is not None and not isinstance(scheduler, LRScheduler):
        raise JobFailed(
            f"the task's scheduler is a {type(scheduler).__name__}, not an LRScheduler",
            hint="give a scheduler, or a function of the total number of steps that returns one",
        )
    return scheduler
