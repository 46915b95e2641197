"""The tensor file: every type and shape comes back to the bit, and safetensors agrees."""

from __future__ import annotations

import contextlib
import math

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from launcher.errors import JobFailed
from launcher.worker.tensors import CODES, Buffer, parse

SHAPES = [(), (0,), (3,), (2, 0, 3), (2, 3), (1, 2, 3, 4)]


def written(tensors: dict[str, Tensor]) -> bytes:
    return bytes(Buffer(pinned=False).snapshot(tensors))


def reread(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return parse(torch.frombuffer(bytearray(written(tensors)), dtype=torch.uint8))


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    data = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), dtype=torch.uint8)
    return data.view(dtype).view(shape)


def bits(tensor: Tensor) -> list[int]:
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_every_type_comes_back_to_the_bit(dtype: torch.dtype) -> None:
    tensors = {str(shape): random_tensor(dtype, shape) for shape in SHAPES}
    for name, tensor in reread(tensors).items():
        assert (tensor.dtype, tensor.shape, bits(tensor)) == (dtype, tensors[name].shape, bits(tensors[name]))


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_safetensors_reads_every_type(dtype: torch.dtype) -> None:
    tensors = {str(shape): random_tensor(dtype, shape) for shape in SHAPES}
    for name, tensor in safetensors.torch.load(written(tensors)).items():
        assert (tensor.dtype, tensor.shape, bits(tensor)) == (dtype, tensors[name].shape, bits(tensors[name]))


def test_types_of_different_width_stay_aligned() -> None:
    tensors = {name: random_tensor(dtype, (3,)) for name, dtype in zip("abcd", CODES, strict=False)}
    tensors |= {"A": torch.ones(3, dtype=torch.bool), "B": torch.ones(5, dtype=torch.int8)}
    assert safetensors.torch.load(written(tensors)).keys() == reread(tensors).keys() == tensors.keys()


@given(st.lists(st.text(max_size=8), unique=True, max_size=5))
@settings(deadline=None, max_examples=50)
def test_any_name_comes_back(names: list[str]) -> None:
    tensors = {name: torch.tensor(index) for index, name in enumerate(names) if name not in ("format", "__metadata__")}
    assert {name: int(tensor) for name, tensor in reread(tensors).items()} == {
        name: int(tensor) for name, tensor in tensors.items()
    }


def test_strided_views_are_stored_in_reading_order() -> None:
    base = torch.arange(24).reshape(4, 6)
    views = {"transposed": base.t(), "every other": base[:, ::2], "expanded": base[0, :1].expand(3)}
    assert all(torch.equal(tensor, views[name]) for name, tensor in reread(views).items())


def test_views_of_one_storage_that_differ_are_stored_each() -> None:
    base = torch.arange(6)
    views = {"whole": base, "head": base[:3], "tail": base[3:], "square": base.view(2, 3)}
    assert all(torch.equal(tensor, views[name]) for name, tensor in reread(views).items())


def test_tied_tensors_are_one_again() -> None:
    weight = torch.randn(3)
    back = reread({"b": weight, "a": weight.detach(), "c": weight.clone()})
    assert back["a"] is back["b"]
    assert back["c"] is not back["a"]


def test_two_empty_tensors_are_not_tied() -> None:
    back = reread({"a": torch.empty(0, 3), "b": torch.empty(2, 0)})
    assert [tuple(back[name].shape) for name in "ab"] == [(0, 3), (2, 0)]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, dtype=torch.complex128),
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
    ids=["complex128", "sparse", "meta"],
)
def test_a_tensor_the_file_cannot_hold_is_named(tensor: Tensor) -> None:
    with pytest.raises(JobFailed, match=r"the tensor layer\.weight cannot be saved"):
        written({"layer.weight": tensor})


@given(st.binary(max_size=64))
@settings(deadline=None, max_examples=200)
def test_a_malformed_file_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(torch.tensor(list(data), dtype=torch.uint8))


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_file_with_one_byte_changed_is_read_or_a_value_error(data: st.DataObject) -> None:
    image = bytearray(written({"a": torch.ones(2), "b": torch.ones(1)}))
    image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        parse(torch.frombuffer(image, dtype=torch.uint8))
