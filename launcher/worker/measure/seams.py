"""Where a step can be looked into: all of it in launcher's own loop, in a framework's where it asks torch or launcher.

These are put in for a measured run only, once, before it begins; the ordinary one does not know of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from launcher.worker import batches, duties, models, optimization, steps, timetable, validation
from launcher.worker.context import Context
from launcher.worker.measure.stopwatch import Stopwatch, timed

SEAMS: tuple[tuple[Any, str, str], ...] = (
    (steps.LossStep, "__call__", "forward"),
    (steps.OwnStep, "__call__", "forward"),
    (torch.autograd, "backward", "backward"),
    (models.Models, "share_buffers", "reduce wait"),
    (optimization.Optimization, "zero", "optimizer"),
    (optimization.Optimization, "step", "optimizer"),
    (validation.Validation, "run", "validation"),
    (duties.Duties, "check_finite", "checkpoint stall"),
    (duties.Duties, "commit", "checkpoint stall"),
)
"""Where a phase is one function: of what, by which name, which phase."""

COPIERS = ("launcher.worker.steps", "launcher.worker.session", "launcher.worker.ignite.supervised")
"""Modules that move a batch to the device."""

UNSEEN: dict[str, dict[str, str]] = {
    "native": {},
    "lightning": {"host to device": "Lightning moves the batch itself; it is in the rest"},
    "ignite": {"forward": "it is within the engine's update; it is in the rest"},
    "script": {"forward": "the program's own; it is in the rest"},
}
"""By kind: phases that cannot be told apart from outside, and where their time is."""


def put_in(watch: Stopwatch, context: Context) -> None:
    """Look into every step of this process from now on."""
    for owner, name, phase in SEAMS:
        if phase != "reduce wait" or context.world_size > 1:
            setattr(owner, name, timed(watch, phase, getattr(owner, name)))
    if context.device.type != "cpu":
        for module in filter(None, map(sys.modules.get, COPIERS)):
            module.to_device = timed(watch, "host to device", batches.to_device)  # type: ignore[attr-defined]
    if context.plan.spec.task.kind == "lightning":
        _watch_training_step(watch)
    if context.plan.spec.task.kind != "native":  # whose steps are seen without a hook, for which torch takes longer
        _watch_optimizers(watch)
    if context.world_size > 1:
        _watch_gradients(watch, hooked=context.plan.spec.task.kind != "native")
    timetable.Timetable.validates = lambda *_: False  # type: ignore[method-assign]


class Batches:
    """A rank's microbatches, each waited for on the watch; or the first of them again and again."""

    first: Any = None
    """The first batch that was seen, of whatever kind."""

    def __init__(self, watch: Stopwatch, source: Iterator[Any], *, synthetic: bool) -> None:
        self._watch = watch
        self._source = source
        self._synthetic = synthetic

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Any:
        self._watch.enter("data wait")
        try:
            batch = next(self._source)
        finally:
            self._watch.leave()
        if Batches.first is None:
            Batches.first = batch
            if self._synthetic:
                self._source = repeat(batch)
        return batch

    @classmethod
    def instead(cls, watch: Stopwatch, *, synthetic: bool) -> None:
        """In place of what any stream of batches hands out."""
        theirs = batches.Stream.__iter__
        batches.Stream.__iter__ = lambda stream: cls(watch, theirs(stream), synthetic=synthetic)  # type: ignore[method-assign]


def _watch_optimizers(watch: Stopwatch) -> None:
    """Every optimizer of the process, whoever steps it."""
    register_optimizer_step_pre_hook(lambda *_: watch.enter("optimizer"))
    register_optimizer_step_post_hook(lambda *_: watch.leave())


def _watch_gradients(watch: Stopwatch, *, hooked: bool) -> None:
    """Of each parameter that is stepped, from its first step on."""
    known: set[int] = set()

    def notice(parameters: Iterable[Any]) -> None:
        for parameter in parameters:
            if id(parameter) not in known and parameter.requires_grad and parameter.is_leaf:
                known.add(id(parameter))
                parameter.register_post_accumulate_grad_hook(lambda _: watch.gradient_ready())

    def of_groups(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            notice(group["params"])

    def stepped(own: optimization.Optimization) -> None:
        notice(own.parameters)
        step(own)

    step = optimization.Optimization.step
    setattr(optimization.Optimization, "step", stepped)  # noqa: B010  (as the seams above)
    if hooked:
        register_optimizer_step_pre_hook(of_groups)


def _watch_training_step(watch: Stopwatch) -> None:
    from launcher.worker.lightning import journey  # brings Lightning along

    start = journey.Journey.start

    def started(own: journey.Journey, trainer: Any) -> None:
        start(own, trainer)
        module = trainer.lightning_module
        module.training_step = timed(watch, "forward", module.training_step)

    setattr(journey.Journey, "start", started)  # noqa: B010  (as the seams above)
