"""Everything beside the weights that a training goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from launcher.errors import RequestError
from launcher.plan import Plan
from launcher.worker import matching
from launcher.worker.best import Best
from launcher.worker.optimization import Optimization


class Schedule(Protocol):
    """What a checkpoint needs of the learning-rate schedule."""

    def state(self) -> dict[str, Any] | None: ...

    def load(self, state: Mapping[str, Any] | None) -> None: ...


@dataclass
class State:
    """Randomness and the place in the data are functions of the step, so neither is kept."""

    plan: Plan
    samples: int
    optimizations: Mapping[str, Optimization]
    schedule: Schedule
    best: Best | None
    early_stop: Best | None
    step: int = 0
    validated: bool = True
    """Whether the step's validation, if one is due, has been made."""
    latest: dict[str, float | None] = field(default_factory=dict)
    """The values logged last and the last validation's."""

    @property
    def stops_early(self) -> bool:
        setting = self.plan.spec.early_stop
        return setting is not None and self.early_stop is not None and self.early_stop.misses >= setting.patience

    def tree(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "validated": self.validated,
            "latest": dict(self.latest),
            "conditions": self._conditions(),
            "optimizations": {name: each.state() for name, each in self.optimizations.items()},
            "schedule": self.schedule.state(),
            "best": self.best.state() if self.best else None,
            "early_stop": self.early_stop.state() if self.early_stop else None,
        }

    def load(self, step: int, tree: Mapping[str, Any]) -> list[str]:
        """Go on from a checkpoint's tree. Returns what to warn of."""
        self.step, self.validated, self.latest = step, tree["validated"], dict(tree["latest"])
        saved = matching.matched(tree["optimizations"], self.optimizations, "optimizer")
        for name, each in self.optimizations.items():
            matching.check_shapes(name, each.optimizer, saved[name]["optimizer"])
            each.load(saved[name])
        self.schedule.load(tree["schedule"])
        for mine, kept in ((self.best, tree["best"]), (self.early_stop, tree["early_stop"])):
            if mine is not None and kept is not None:
                mine.load(kept)
        return [*matching.taken_in_order(tree["optimizations"], self.optimizations), *self._changed(tree["conditions"])]

    def _changed(self, then: Mapping[str, Any]) -> list[str]:
        return [
            f"resumed under other conditions: {key} was {then.get(key)} and is {value}; the bits will differ"
            for key, value in self._conditions().items()
            if value != then.get(key)
        ]

    def _conditions(self) -> dict[str, Any]:
        training = self.plan.spec.training
        return {
            "samples": self.samples,
            "world_size": self.plan.world_size,
            "device": self.plan.device,
            "precision": self.plan.precision,
            "threads": self.plan.threads,
            "batch_size": training.batch_size,
            "accumulate": training.accumulate,
            "seed": training.seed,
        }


def bests(plan: Plan) -> tuple[Best | None, Best | None]:
    """What to follow for `checkpoint.best` and for `early_stop`."""
    best, early = plan.spec.checkpoint.best, plan.spec.early_stop
    return (
        Best("checkpoint.best.metric", best.metric, best.mode) if best else None,
        Best("early_stop.metric", early.metric, early.mode) if early else None,
    )


def check_metrics_exist(plan: Plan, validates: bool, remedy: str) -> None:
    """Raises RequestError where the job follows a validation metric and the task does not validate."""
    for key, wish in (("checkpoint.best", plan.spec.checkpoint.best), ("early_stop", plan.spec.early_stop)):
        if wish is not None and not validates:
            raise RequestError(
                f"{key} follows the metric {wish.metric!r}, and the task does not validate",
                hint=f"{remedy}, or take the setting out",
            )
