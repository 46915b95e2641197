"""Training state as JSON: a tree of plain Python values whose tensors are stored beside it, by name.

`dict` (keys `str` or `int`), `list`, `tuple`, `None`, `bool`, `int`, `float`, `str`, `bytes` and tensors come back as
they were, to the bit. A JSON object is always a tag: `{"dict": {…}}`, `{"items": [[key, value], …]}`,
`{"tuple": […]}`, `{"tensor": name}`, `{"float": "nan"}`, `{"int": "0x…"}`, `{"bytes": "00ff"}`.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from launcher.errors import JobFailed
from launcher.worker.tensors import METADATA

_WIDEST = 1 << 63  # larger numbers are written in base 16, for which Python sets no limit of digits


def encode(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """The JSON value and the tensors it refers to; raises JobFailed, with the place, for a value of another type."""
    tensors: dict[str, Tensor] = {}
    return _encode(value, "", tensors), tensors


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `encode`; raises ValueError for what `encode` does not write."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        ((tag, content),) = value.items()
        return _DECODERS[tag](content, tensors)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a tree of training state: {error}") from error


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value) if -_WIDEST <= value < _WIDEST else {"int": hex(value)}
        case float():
            return float(value) if math.isfinite(value) else {"float": float(value).hex()}
        case bytes():
            return {"bytes": value.hex()}
        case Tensor():
            return {"tensor": _add(value, path or "value", tensors)}
        case list():
            return [_encode(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
        case tuple() if type(value) is tuple:
            return {"tuple": [_encode(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]}
        case dict() if all(type(key) is str for key in value):
            return {"dict": {key: _encode(item, _join(path, key), tensors) for key, item in value.items()}}
        case dict() if all(type(key) in (str, int) for key in value):
            return {"items": [[key, _encode(item, _join(path, key), tensors)] for key, item in value.items()]}
    raise JobFailed(
        f"the training state at {path or 'its root'} cannot be saved: {type(value).__qualname__}",
        hint="a checkpoint holds dict (keys str or int), list, tuple, None, bool, int, float, str, bytes and tensors",
    )


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def _add(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name, number = path, 0
    while name in tensors or name in (METADATA, "format"):
        number += 1
        name = f"{path}#{number}"
    tensors[name] = tensor
    return name


_DECODERS: dict[str, Any] = {
    "dict": lambda content, tensors: {key: decode(item, tensors) for key, item in content.items()},
    "items": lambda content, tensors: {key: decode(item, tensors) for key, item in content},
    "tuple": lambda content, tensors: tuple(decode(content, tensors)),
    "tensor": lambda content, tensors: tensors[content],
    "float": lambda content, tensors: float(content),
    "int": lambda content, tensors: int(content, 16),
    "bytes": lambda content, tensors: bytes.fromhex(content),
}
