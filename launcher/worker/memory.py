"""Memory for a file's bytes, in huge pages where the system has them at hand, and copies into it and out of it.

Most of the time that it takes to load a checkpoint goes for memory the process does not have yet: 4 KiB at a time it
takes three times as long as reading and verifying what is put there. In pages of 2 MiB it takes next to nothing; but
where memory is in pieces the system first moves others' pages about, which takes longer than small ones would.
"""

from __future__ import annotations

import mmap
import time
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HUGE = 1 << 21
"""Bytes of a huge page."""
FEW = 2
"""Threads that copy no quicker together than one, which writes past its cache, as torch's do not, and need not wait."""
_LONGEST = 0.001
"""Seconds of the processor after which as many bytes in small pages would have been quicker."""
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14, which Python does not name


def pages(size: int) -> Tensor:
    """Memory (uint8, shape [size]) that starts on a page, as writing past the system's cache needs it."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE:
        with suppress(OSError):  # without huge pages, or on an older system: it comes as it is used
            _take(memory)
    return torch.frombuffer(memory, dtype=torch.uint8)[:size]


def copy(into: Tensor, source: Tensor, *, pinned: bool = False) -> None:
    """As `Tensor.copy_`, of one shape; from a GPU into pinned memory it is only queued.

    Torch's count of changes in place may not rise: `overlap` does not see what this changes while a save copies it.
    """
    alike = into.dtype == source.dtype and all(_plain(each) for each in (into, source))
    if alike and torch.get_num_threads() <= FEW:
        copy_by_one_core(into, source)
    else:
        into.copy_(source, non_blocking=pinned)


def copy_by_one_core(into: Tensor, source: Tensor) -> None:
    """Of one type and shape, on the CPU, without gaps; other threads of the process go on meanwhile."""
    np.copyto(_bytes(into), _bytes(source))


def _plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.is_cpu
        and tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy()


def _take(memory: mmap.mmap) -> None:
    """In huge pages until one took long to find."""
    memory.madvise(mmap.MADV_HUGEPAGE)
    for start in range(0, len(memory), HUGE):
        begun = time.thread_time()
        memory.madvise(_POPULATE_WRITE, start, min(HUGE, len(memory) - start))
        if time.thread_time() - begun > _LONGEST:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
