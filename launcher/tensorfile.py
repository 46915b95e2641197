"""Tensor files (safetensors) without torch: which tensor of two checkpoints differs first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import readback

MOST_HEADER = 1 << 26


def first_difference(one: Path, two: Path) -> str | None:
    """The first tensor, by name, that is not the same in both files, and how many others are not; None where all are.

    Raises OSError or ValueError where one of them cannot be read.
    """
    left, right = _tensors(one), _tensors(two)
    differing = [name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    if not differing:
        return None
    more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
    return f"{differing[0]}{more}, of {len(left.keys() | right.keys())}"


def _tensors(path: Path) -> Mapping[str, tuple[Any, ...]]:
    """Type, shape and bytes of each tensor."""
    with readback.opened(path) as file:
        content = memoryview(file.read())
    size = int.from_bytes(content[:8], "little")
    if size > min(MOST_HEADER, len(content)):
        raise ValueError(f"{path}: not a tensor file")
    header = json.loads(bytes(content[8 : 8 + size]))
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {
        name: (each["dtype"], each["shape"], data[each["data_offsets"][0] : each["data_offsets"][1]])
        for name, each in header.items()
    }
