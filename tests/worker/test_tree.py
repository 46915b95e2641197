"""The tree of training state: what goes in comes out, with its types, to the bit."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import JobFailed
from launcher.worker import tree

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**63, 2**20000)
    | st.floats()
    | st.text()
    | st.binary(max_size=4)
    | st.lists(st.floats(width=32), max_size=3).map(lambda values: torch.tensor(values))
)
trees = st.recursive(
    leaves,
    lambda children: (
        st.lists(children, max_size=4)
        | st.lists(children, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), children, max_size=4)
        | st.dictionaries(st.sampled_from(["tensor", "dict", "a", "a.b", "__metadata__", "format"]), children)
    ),
    max_leaves=12,
)


def around(value: Any) -> Any:
    encoded, tensors = tree.encode(value)
    return tree.decode(json.loads(json.dumps(encoded, allow_nan=False)), tensors)


def canonical(value: Any) -> Any:
    """A value in which nothing that differs compares equal."""
    if isinstance(value, torch.Tensor):
        return ("tensor", value.shape, value.numpy().tobytes())
    if isinstance(value, float):
        return ("float", "nan" if value != value else struct.pack("<d", value))
    if isinstance(value, list | tuple):
        return (type(value), [canonical(item) for item in value])
    if isinstance(value, dict):
        return (dict, [(type(key), key, canonical(item)) for key, item in value.items()])
    return (type(value), value)


@given(trees)
@settings(deadline=None, max_examples=300)
def test_any_tree_comes_back(value: Any) -> None:
    assert canonical(around(value)) == canonical(value)


@given(trees)
@settings(deadline=None, max_examples=100)
def test_each_tensor_has_a_name_of_its_own(value: Any) -> None:
    encoded, tensors = tree.encode(value)
    assert json.dumps(encoded).count('{"tensor": "') >= len(tensors)
    assert not tensors.keys() & {"__metadata__", "format"}


def test_tensors_are_named_by_their_place() -> None:
    _, tensors = tree.encode({"optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}})
    assert list(tensors) == ["optimizer.state.0.exp_avg"]


@pytest.mark.parametrize("value", [..., {1.5: 2}, {True: 1}, {1, 2}, bytearray(b"bytes")], ids=repr)
def test_a_value_of_another_type_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(JobFailed, match=r"at a\.0 cannot be saved"):
        tree.encode({"a": [value]})


@pytest.mark.parametrize(
    "value", [{}, {"tuple": 3}, {"no": 1}, {"tensor": "x"}, {"items": [[1]]}, {"int": "z"}, {"bytes": "0"}]
)
def test_a_malformed_tree_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        tree.decode(value, {})
