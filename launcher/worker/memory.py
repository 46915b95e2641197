"""Fresh memory for a file's bytes, in huge pages where the system has them at hand.

Most of the time that it takes to load a checkpoint goes for memory the process does not have yet: 4 KiB at a time it
takes three times as long as reading and verifying what is put there. In pages of 2 MiB it takes next to nothing; but
where memory is in pieces the system first moves others' pages about, which takes longer than small ones would.
"""

from __future__ import annotations

import mmap
import time
from contextlib import suppress

import torch
from torch import Tensor

BLOCK = 1 << 24
"""Bytes taken at once."""
_LONGEST = 0.008
"""Seconds of the processor after which a block in small pages would have been quicker."""
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14, which Python does not name


def pages(size: int) -> Tensor:
    """Memory (uint8, shape [size]) that starts on a page, as writing past the system's cache needs it."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= BLOCK:
        with suppress(OSError):  # without huge pages, or on an older system: it comes as it is used
            _take(memory)
    return torch.frombuffer(memory, dtype=torch.uint8)[:size]


def _take(memory: mmap.mmap) -> None:
    memory.madvise(mmap.MADV_HUGEPAGE)
    for start in range(0, len(memory), BLOCK):
        begun = time.thread_time()
        memory.madvise(_POPULATE_WRITE, start, min(BLOCK, len(memory) - start))
        if time.thread_time() - begun > _LONGEST:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
