"""`optimizer.fused`: one kernel for all parameters, switched on or off in an optimizer that the target has built."""

from __future__ import annotations

import torch
from torch.optim import SGD, Adam, Optimizer

from launcher.errors import RequestError
from launcher.plan import Plan

CAPABLE = (Adam, SGD)  # AdamW is an Adam
"""Those that take the flag in their parameter groups, and on every device."""


def apply(optimizer: Optimizer, plan: Plan) -> None:
    """Once it is built, and again whenever a state was loaded into it, which brings the flag it was saved with.

    Raises RequestError where the job insists and the optimizer cannot.
    """
    wanted = plan.levers.fused
    if wanted is None:
        return
    if wanted and not _can(optimizer):
        if plan.spec.optimizer.fused is True:
            raise RequestError(
                f"optimizer.fused is true, and the target's {type(optimizer).__name__} has no fused step",
                hint="Adam, AdamW and SGD have one, for dense parameters of floating point;"
                " --set optimizer.fused=auto takes it where there is one",
            )
        return
    if not isinstance(optimizer, CAPABLE):
        return
    for group in optimizer.param_groups:
        group["fused"] = wanted
        if wanted:
            group["foreach"] = False
    # Else a GradScaler would leave its scaling to a step that no longer does it. Its own way is right for both.
    optimizer._step_supports_amp_scaling = False
    _place_counters(optimizer, wanted)


def _can(optimizer: Optimizer) -> bool:
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    flags = [group.get(name) for group in optimizer.param_groups for name in ("differentiable", "capturable")]
    return isinstance(optimizer, CAPABLE) and not any(flags) and all(each.is_floating_point() for each in parameters)


def _place_counters(optimizer: Optimizer, fused: bool) -> None:
    """The fused step reads its number on the device, the others on the host."""
    for parameter, state in optimizer.state.items():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].to(parameter.device if fused else "cpu")
