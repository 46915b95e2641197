"""Fresh memory, of any size, with huge pages and without."""

from __future__ import annotations

import errno
import mmap
import os

import pytest
import torch
from torch import Tensor, nn

from launcher.worker import memory


@pytest.mark.parametrize("size", [0, 1, memory.HUGE - 1, memory.HUGE, 2 * memory.HUGE + 5])
def test_memory_is_as_large_as_asked_for_empty_and_on_a_page(size: int) -> None:
    pages = memory.pages(size)
    assert pages.numel() == size
    assert not pages.any()
    assert size == 0 or pages.data_ptr() % mmap.PAGESIZE == 0


def test_a_system_without_huge_pages_gives_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pages: mmap.mmap) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(memory, "_take", refuse)
    assert memory.pages(memory.HUGE).sum() == 0


@pytest.mark.parametrize("few", [0, 99])
@pytest.mark.parametrize(
    "source",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.tensor(7),
        torch.ones(0),
        torch.full((5,), 1.5, dtype=torch.bfloat16),
        torch.tensor([1 + 2j]).conj(),
    ],
    ids=["strided", "scalar", "empty", "half", "conjugated"],
)
def test_a_copy_is_as_torch_would_make_it(monkeypatch: pytest.MonkeyPatch, source: Tensor, few: int) -> None:
    monkeypatch.setattr(memory, "FEW", few)
    into = torch.zeros(source.shape, dtype=source.dtype)
    memory.copy(into, source)
    assert torch.equal(into, source)


@pytest.mark.parametrize("few", [0, 99])
def test_a_copy_into_a_live_weight_changes_its_type_no_more_than_torch_would(
    monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(memory, "FEW", few)
    weight = nn.Parameter(torch.zeros(3))
    with torch.no_grad():
        memory.copy(weight, torch.full((3,), 0.5, dtype=torch.float64))
        assert weight.tolist() == [0.5] * 3
        memory.copy(weight, torch.ones(3))
    assert weight.tolist() == [1.0] * 3
