"""What an Ignite target gave: an engine of its own, or the parts that a supervised one is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ignite.engine import Engine
from torch import nn
from torch.optim import Optimizer

from launcher import elastic
from launcher.errors import JobFailed, RequestError
from launcher.levers import ModelOptions, ParallelOptions
from launcher.plan import Plan
from launcher.spec import TaskSpec
from launcher.worker.target import mistaken


@dataclass(frozen=True, kw_only=True)
class OwnEngine:
    """The target's engine, which makes an optimizer step in each iteration."""

    trainer: Engine
    data: Any
    to_save: Mapping[str, Any]
    evaluators: Mapping[str, Engine] = field(default_factory=dict)
    """Engines that the target's own handlers run; their metrics are the validation's."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What launcher makes the engine of."""

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[[Any, Any], Any]
    """`loss(output, labels)`, or an `nn` loss."""
    data: Any
    validation: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Ignite's metrics by name, for `create_supervised_evaluator`."""
    scheduler: Any = None
    """A torch scheduler, or a function of the number of optimizer steps that makes one; it advances every step."""
    attach: Callable[[Engine], None] | None = None
    """Called with the engine, to add handlers to it."""


def understand(returned: Any, plan: Plan) -> OwnEngine | Parts:
    """Raises RequestError or JobFailed, saying what it is instead, for what cannot be trained."""
    task = plan.spec.task
    if not isinstance(returned, Mapping):
        raise mistaken(task, returned)
    form: type[OwnEngine] | type[Parts] = OwnEngine if "trainer" in returned else Parts
    _check_keys(form, returned, task)
    if isinstance(given := form(**returned), OwnEngine):
        _check_engine(given, plan)
    return given


def _check_keys(form: type[OwnEngine] | type[Parts], returned: Mapping[str, Any], task: TaskSpec) -> None:
    known = {each.name: each.default is each.default_factory for each in dataclasses.fields(form)}  # both are MISSING
    if not known.keys() & returned.keys():
        raise mistaken(task, returned)
    missing = next((name for name, needed in known.items() if needed and name not in returned), None)
    unknown = next((name for name in returned if name not in known), None)
    if missing or unknown:
        fault = f"with {unknown!r}, which is not known" if unknown else f"without {missing!r}"
        raise JobFailed(f"task.target {task.target} returned a dict {fault}", hint=f"it takes {', '.join(known)}")


def _check_engine(given: OwnEngine, plan: Plan) -> None:
    trainer = given.trainer
    if not isinstance(trainer, Engine):
        raise JobFailed(f"'trainer' is a {type(trainer).__name__}, not an ignite.engine.Engine")
    if trainer.state.iteration:
        raise JobFailed(
            f"the engine was already run, to iteration {trainer.state.iteration}",
            hint="return it before its first run: launcher calls run(data) itself",
        )
    spec = plan.spec
    elastic.refuse_a_range(spec, "an engine of its own cannot go on with fewer nodes")
    for key, value, usual in (
        ("training.accumulate", spec.training.accumulate, 1),
        ("training.precision", plan.precision, "fp32"),
        *_settings("model", spec.model, ModelOptions()),
        *_settings("parallel", spec.parallel, ParallelOptions()),
    ):
        if value != usual:
            raise RequestError(
                f"{key} is {str(value).lower()}, and an engine of its own decides about that itself",
                hint=f"--set {key}={str(usual).lower()}, or return model, optimizer, loss and data, no engine",
            )


def _settings(section: str, asked: Any, usual: Any) -> Iterator[tuple[str, Any, Any]]:
    for each in dataclasses.fields(asked):
        yield f"{section}.{each.name}", getattr(asked, each.name), getattr(usual, each.name)
