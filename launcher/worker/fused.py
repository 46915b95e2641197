"""`optimizer.fused`: one kernel for all parameters, switched on or off in an optimizer that the target has built."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer

from launcher.errors import RequestError
from launcher.plan import Plan

CAPABLE = (Adam, SGD)  # AdamW is an Adam
"""Those that take the flag in their parameter groups, and on every device."""
KERNELS = ("fused", "foreach")
"""The settings of a parameter group that say how it is stepped, and not to what."""


def apply(optimizer: Optimizer, plan: Plan) -> None:
    """Once it is built, and again whenever a state was loaded into it, for the counters that it brings.

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
        group["fused"] = True if wanted else None  # False would turn off foreach as well
        if wanted:
            group["foreach"] = False
    # Else a GradScaler would leave its scaling to a step that no longer does it. Its own way is right for both.
    optimizer._step_supports_amp_scaling = False
    _place_counters(optimizer, wanted)


def keep(optimizer: Optimizer) -> None:
    """From now on a state that is loaded leaves each group the kernels it has, whatever it was saved with."""
    optimizer.register_load_state_dict_pre_hook(_with_own_kernels)


def _with_own_kernels(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {**saved, **{name: own[name] for name in KERNELS if name in own}}
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=False)
    ]
    return {**state, "param_groups": [*groups, *state["param_groups"][len(groups) :]]}


def _can(optimizer: Optimizer) -> bool:
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    flags = [group.get(name) for group in optimizer.param_groups for name in ("differentiable", "capturable")]
    return isinstance(optimizer, CAPABLE) and not any(flags) and all(each.is_floating_point() for each in parameters)


def _place_counters(optimizer: Optimizer, fused: bool) -> None:
    """The fused step reads its number on the device, the others on the host."""
    for parameter, state in optimizer.state.items():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].to(parameter.device if fused else "cpu")
