"""A request's JSON as arrays, or the sentence that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from launcher.worker.serve.predictor import Arrays, Input, Predictor


class Unfit(ValueError):
    """What was sent cannot be computed; the message says where and why."""


def read(body: bytes, predictor: Predictor, max_batch: int) -> Arrays:
    """`{"inputs": [[…], …]}`, or by name where the model takes several: `{"inputs": {"a": […], "b": […]}}`."""
    try:
        sent = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise Unfit("the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise Unfit("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unfit(f"the body is not JSON: {error}") from None
    if not isinstance(sent, dict) or sent.keys() != {"inputs"}:
        raise Unfit('the body is not {"inputs": …}')
    arrays = [_array(value, each) for value, each in _by_input(sent["inputs"], predictor.inputs)]
    sizes = {len(array) for array in arrays}
    if len(sizes) > 1:
        raise Unfit("the inputs hold different numbers of samples")
    if not 1 <= len(arrays[0]) <= max_batch:
        raise Unfit(f"a request holds 1 to {max_batch} samples, and this one {len(arrays[0])}")
    return arrays


def _by_input(sent: Any, inputs: tuple[Input, ...]) -> list[tuple[Any, Input]]:
    if isinstance(sent, list) and len(inputs) == 1:
        return [(sent, inputs[0])]
    names = ", ".join(each.name for each in inputs)
    if not isinstance(sent, dict) or sent.keys() != {each.name for each in inputs}:
        raise Unfit(f"inputs holds the arrays {names}, each by its name")
    return [(sent[each.name], each) for each in inputs]


def _array(sent: Any, wanted: Input) -> np.ndarray[Any, Any]:
    if not isinstance(sent, list):
        raise Unfit(f"{wanted.name} is a list of samples")
    if not sent:
        raise Unfit(f"{wanted.name} holds no sample")
    try:
        array = np.array(sent)
    except ValueError:
        raise Unfit(f"{wanted.name}: the samples are not all of one shape, {_shape(wanted)}") from None
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise Unfit(f"{wanted.name} holds something that is not a number")
    if array.ndim != len(wanted.shape) + 1 or not _fits(array.shape[1:], wanted.shape):
        raise Unfit(f"{wanted.name}: a sample has shape {list(array.shape[1:])}, and the model takes {_shape(wanted)}")
    return _cast(array, wanted)


def _cast(array: np.ndarray[Any, Any], wanted: Input) -> np.ndarray[Any, Any]:
    kind = np.dtype(wanted.dtype).kind
    if (array.dtype.kind == "b" and kind != "b") or (kind == "b" and array.dtype.kind != "b"):
        raise Unfit(f"{wanted.name} takes {wanted.dtype}")
    if kind in "iu" and array.dtype.kind not in "iu":
        raise Unfit(f"{wanted.name} takes whole numbers, {wanted.dtype}")
    with np.errstate(all="ignore"):
        made = array.astype(wanted.dtype)
    if kind == "f" and not np.isfinite(made).all():
        raise Unfit(f"{wanted.name} holds a number that is too large for {wanted.dtype}")
    if kind in "iu" and not np.array_equal(made, array):
        raise Unfit(f"{wanted.name} holds a number that does not fit into {wanted.dtype}")
    return made


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return all(size == each if each is not None else size > 0 for size, each in zip(shape, wanted, strict=True))


def _shape(wanted: Input) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in wanted.shape) + "]"


def _refuse_constant(word: str) -> Any:
    raise Unfit(f"{word} is not a number that can be computed with")
