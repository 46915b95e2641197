"""An optimizer's step and its zeroing without the label that torch puts round both for a profiler.

On a small model the two labels take as long as clipping does. What is computed is the same; where anybody could tell
the difference (a profiler, a hook, a method of the user's own) torch's way is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch._C._autograd import _profiler_enabled
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

_LABELLED = Optimizer.profile_hook_step(lambda: None).__code__


class Unlabelled:
    """Steps and zeroes one optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer: Any = optimizer
        self.zeroes_as_usual = type(optimizer).zero_grad is Optimizer.zero_grad
        self.step_seen: Any = None
        self.own_step: Callable[[Any], object] | None = None

    def zero(self) -> None:
        if not self.zeroes_as_usual or _profiler_enabled():
            self.optimizer.zero_grad(set_to_none=True)
            return
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """The first one is torch's in any case: a schedule looks whether there was one."""
        optimizer = self.optimizer
        if self.own_step is not None and vars(optimizer).get("step") is self.step_seen and not _watched(optimizer):
            self.own_step(optimizer)
            return
        optimizer.step()
        self.step_seen = vars(optimizer).get("step")
        self.own_step = _inside(optimizer)


def _inside(optimizer: Any) -> Callable[[Any], object] | None:
    """What torch's wrapper holds, if the optimizer's step is that wrapper and nothing else but a schedule's."""
    given, step = vars(optimizer).get("step"), type(optimizer).step
    if given is not None and not hasattr(given, "_wrapped_by_lr_sched"):
        return None
    return step.__wrapped__ if getattr(step, "__code__", None) is _LABELLED else None


def _watched(optimizer: Any) -> bool:
    return bool(
        _profiler_enabled()
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )
