"""torchmetrics: what each rank's has gathered, put together in the order of the ranks.

Their own synchronization goes by torch's collectives, when it chooses, and needs a sample on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from launcher.errors import JobFailed

State = Mapping[str, Any]
"""Of one rank: tensors on the CPU, or lists of such, by name; and how often it was updated."""
_UPDATES = "_update_count"


def is_measure(value: Any) -> bool:
    """Whether it is a torchmetrics `Metric`; the package itself is not needed to tell."""
    return _is("torchmetrics.metric", "Metric", value)


def is_collection(value: Any) -> bool:
    return _is("torchmetrics.collections", "MetricCollection", value)


def one_by_one(given: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics by name, those of a collection after its own: `all.accuracy`."""
    single: dict[str, Any] = {}
    for name, each in given.items():
        if is_collection(each):  # whose `items` give each its own state: only the first of those alike is updated
            single |= {f"{name}.{key}": measure for key, measure in each.items()}
        else:
            single[name] = each
    return single


def of_module(module: nn.Module) -> dict[str, Any]:
    """Every metric in a module that has a state of its own, by its path; those that are made of others have theirs."""
    for each in module.modules():
        if is_collection(each):
            one_by_one({"": each})
    return {path: each for path, each in module.named_modules() if is_measure(each) and each._defaults}


def can_be_joined(measure: Any) -> bool:
    """Whether one rank can go on with what several have gathered: not where their states are put side by side."""
    return all(isinstance(measure._defaults[key], list) or reduce for key, reduce in measure._reductions.items())


def take(name: str, measure: Any) -> State:
    """What it has gathered; it begins anew. Raises JobFailed for one that is made of others."""
    state = gathered(name, measure)
    measure.reset()
    return state


def gathered(name: str, measure: Any) -> State:
    """What it has gathered. Raises JobFailed for one that is made of others."""
    if not measure._defaults:
        raise JobFailed(
            f"metric {name} is a {type(measure).__name__}, which has no state of its own",
            hint="return the metrics it is made of, each by its own name",
        )
    return {**{key: _on_cpu(getattr(measure, key)) for key in measure._defaults}, _UPDATES: int(measure._update_count)}


def was_updated(state: State) -> bool:
    return bool(state[_UPDATES])


def put(measure: Any, states: Sequence[State]) -> None:
    """Let it have gathered what these have together, in their order."""
    for key, reduce in measure._reductions.items():
        setattr(measure, key, _moved(_together([state[key] for state in states], reduce), measure.device))
    measure._update_count = sum(state[_UPDATES] for state in states)
    measure._computed = None


def compute(name: str, measure: Any, states: Sequence[State]) -> float:
    """Its value over all ranks; it begins anew. Raises JobFailed where that is not one number."""
    put(measure, states)
    value = measure.compute.__wrapped__()  # without its synchronization
    measure.reset()
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise JobFailed(f"metric {name} computed {what}", hint="one number is reported by each name: average it")
    return float(value)


def _is(module: str, name: str, value: Any) -> bool:
    return any(base.__name__ == name and base.__module__ == module for base in type(value).__mro__)


def _together(values: list[Any], reduce: Callable[[Tensor], Tensor] | None) -> Any:
    """As torchmetrics does it: lists one after the other, tensors stacked and reduced."""
    if len(values) == 1:
        return values[0]
    if isinstance(values[0], list):
        return [each for value in values for each in value]
    stacked = torch.stack(values)
    return reduce(stacked) if reduce is not None else stacked


def _on_cpu(state: Any) -> Any:
    return [each.detach().cpu() for each in state] if isinstance(state, list) else state.detach().cpu().clone()


def _moved(state: Any, device: torch.device) -> Any:
    return [each.to(device) for each in state] if isinstance(state, list) else state.to(device)
