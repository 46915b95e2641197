"""torchmetrics: what each rank's has gathered, put together in the order of the ranks.

Their own synchronization goes by torch's collectives, when it chooses, and needs a sample on every rank.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from launcher.errors import JobFailed

State = Mapping[str, Any]
"""Of one rank: tensors on the CPU, or lists and tuples of such, by name; and how often it was updated."""
_UPDATES, _SEEN, _LEAST = "_update_count", "_num_vals_seen", "min_val"
BESIDE_STATES = {"MinMaxMetric": (_LEAST, "max_val"), "Running": (_SEEN,)}
"""What torchmetrics' wrappers gather in attributes that are no states, by the wrapper's class."""


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
    """Every metric in a module that gathers anything itself, by its path: not those that are only made of others."""
    for each in module.modules():
        if is_collection(each):
            one_by_one({"": each})
    found = {path: each for path, each in module.named_modules() if is_measure(each)}
    return {path: each for path, each in found.items() if each._defaults or _beside_states(each)}


def grow(module: nn.Module, paths: Iterable[str]) -> None:
    """Let each MetricTracker in the module, which begins a metric every epoch, have as many as these are of."""
    for place, tracker in module.named_modules():
        if _is("torchmetrics.wrappers.tracker", "MetricTracker", tracker):
            begun = {path.removeprefix(f"{place}.").partition(".")[0] for path in paths if path.startswith(f"{place}.")}
            while len(tracker) < len(begun):
                tracker.increment()


def check_computes_alone(name: str, measure: Any) -> None:
    """Raises JobFailed for one that is made of others, and computed of what they have gathered."""
    if not measure._defaults:
        raise JobFailed(
            f"metric {name} is a {type(measure).__name__}, which has no state of its own",
            hint="return the metrics it is made of, each by its own name",
        )


def can_be_joined(measure: Any) -> bool:
    """Whether one rank can go on with what several have gathered: not where their states are put side by side."""
    reduced = (isinstance(measure._defaults[key], list) or reduce for key, reduce in measure._reductions.items())
    return all(reduced) and not _beside_states(measure)


def take(name: str, measure: Any) -> State:
    """What it has gathered; it begins anew. Raises JobFailed for one that is made of others."""
    check_computes_alone(name, measure)
    state = gathered(measure)
    measure.reset()
    return state


def gathered(measure: Any) -> State:
    keys = (*measure._defaults, *_beside_states(measure))
    return {**{key: _kept(getattr(measure, key)) for key in keys}, _UPDATES: int(measure._update_count)}


def was_updated(state: State) -> bool:
    return bool(state[_UPDATES] or state.get(_SEEN) or state.get(_LEAST, math.inf) < math.inf)


def put(measure: Any, states: Sequence[State]) -> None:
    """Let it have gathered what these have together, in their order."""
    together = {key: _together([state[key] for state in states], how) for key, how in measure._reductions.items()}
    together |= {key: states[0][key] for key in _beside_states(measure) if key in states[0]}
    for key, value in together.items():
        setattr(measure, key, _each(lambda tensor: tensor.to(measure.device), value))
    measure._update_count = sum(state[_UPDATES] for state in states)
    measure._computed = None


def compute(name: str, measure: Any, states: Sequence[State]) -> float:
    """Its value over all ranks; it begins anew. Raises JobFailed where that is not one number."""
    put(measure, states)
    with _unsynchronized(measure):
        # Its own compute: what torchmetrics wraps it in returns the value of the last call until the next update.
        value = getattr(measure.compute, "__wrapped__", measure.compute)()
    measure.reset()
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise JobFailed(f"metric {name} computed {what}", hint="one number is reported by each name: average it")
    return float(value)


@contextlib.contextmanager
def _unsynchronized(measure: nn.Module) -> Iterator[None]:
    """It is not to ask the other ranks, nor what it wraps."""
    parts = [(each, each._to_sync) for each in measure.modules() if is_measure(each)]
    for each, _ in parts:
        each._to_sync = False  # type: ignore[assignment]  # torch types a module's attributes so
    try:
        yield
    finally:
        for each, wished in parts:
            each._to_sync = wished


def _beside_states(measure: Any) -> tuple[str, ...]:
    wrappers = [base.__name__ for base in type(measure).__mro__ if base.__module__.startswith("torchmetrics.wrappers.")]
    return next((names for wrapper, names in BESIDE_STATES.items() if wrapper in wrappers), ())


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


def _kept(state: Any) -> Any:
    """A metric adds to a tensor in place, and to a list by one more."""
    return state.detach().cpu().clone() if isinstance(state, Tensor) else _each(lambda each: each.detach().cpu(), state)


def _each(change: Callable[[Tensor], Tensor], state: Any) -> Any:
    """The state with each of its tensors changed. Detection keeps tuples, of whatever encodes a mask."""
    if isinstance(state, Tensor):
        return change(state)
    return type(state)(_each(change, each) for each in state) if isinstance(state, list | tuple) else state
