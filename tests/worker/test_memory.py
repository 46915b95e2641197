"""Fresh memory, of any size, with huge pages and without."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from launcher.worker import memory


@pytest.mark.parametrize("size", [0, 1, memory.BLOCK - 1, memory.BLOCK, 2 * memory.BLOCK + 5])
def test_memory_is_as_large_as_asked_for_empty_and_on_a_page(size: int) -> None:
    pages = memory.pages(size)
    assert pages.numel() == size
    assert not pages.any()
    assert size == 0 or pages.data_ptr() % mmap.PAGESIZE == 0


def test_a_system_without_huge_pages_gives_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pages: mmap.mmap) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(memory, "_take", refuse)
    assert memory.pages(memory.BLOCK).sum() == 0
