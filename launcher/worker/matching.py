"""Which state of a checkpoint belongs to which of several optimizers or schedules.

By their names; where one side only numbers them (Lightning has no names for them), by their order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import torch

from launcher.errors import RequestError

Kept = TypeVar("Kept")

SHAPED_AS_PARAMETERS = frozenset(
    {
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer"),
        *("square_avg", "grad_avg", "acc_delta", "sum", "ax", "prev", "step_size"),
    }
)
"""In torch's own optimizers. What others keep under these names may be smaller, as what Adafactor and LBFGS keep is."""


def matched(saved: Mapping[str, Kept], names: Collection[str], what: str) -> dict[str, Kept]:
    """The saved states by these names. Raises RequestError where it is not known which is whose."""
    if saved.keys() == set(names) or not names:
        return dict(saved)
    if len(saved) == len(names) and (len(names) == 1 or _numbered(saved) or _numbered(names)):
        return dict(zip(names, saved.values(), strict=True))
    raise RequestError(
        f"the checkpoint is of a training with {_listed(saved, what)}, this one has {_listed(names, what)}",
        hint=f"give the {what}s the names they have in the checkpoint, or begin without it",
    )


def taken_in_order(saved: Collection[str], names: Collection[str]) -> list[str]:
    """A warning where several of them were matched by their order."""
    if len(names) < 2 or set(saved) == set(names):
        return []
    pairs = ", ".join(f"{theirs} as {mine}" for theirs, mine in zip(saved, names, strict=True))
    return [f"the checkpoint's optimizers were taken in their order: {pairs}"]


def check_shapes(name: str, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Raises RequestError where the saved state is of other parameters: torch would find out in the next step."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for parameter, number in zip(parameters, numbers, strict=False):
        for value in _shaped_as_parameters(optimizer, saved["state"].get(number, {})):
            if value.shape != parameter.shape:
                _refuse(name, f"a parameter of shape {tuple(value.shape)}, here {tuple(parameter.shape)}")
    if len(parameters) != len(numbers):
        _refuse(name, f"{len(numbers)} parameters, here {len(parameters)}")


def _shaped_as_parameters(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> list[torch.Tensor]:
    if not type(optimizer).__module__.startswith("torch.optim."):
        return []
    return [value for name, value in state.items() if name in SHAPED_AS_PARAMETERS and isinstance(value, torch.Tensor)]


def _numbered(names: Collection[str]) -> bool:
    return list(names) == [str(number) for number in range(len(names))]


def _refuse(name: str, difference: str) -> None:
    raise RequestError(
        f"the checkpoint's state for optimizer {name!r} is of other parameters: {difference}",
        hint="give the optimizers in the order, and each the parameters, that they have in the checkpoint",
    )


def _listed(names: Collection[str], what: str) -> str:
    return f"the {what}s {', '.join(names)}" if names else f"no {what}"
