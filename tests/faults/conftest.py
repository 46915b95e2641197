"""The bench that fault campaigns run on: in memory where that is possible, for there a sync takes no time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.calls import Bench


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Makes a bench for the protocol as it is, or with a planted defect."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler: cc")
    in_memory = Path("/dev/shm")
    benches: list[Bench] = []
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:

        def make(*, defect: str = "nothing") -> Bench:
            benches.append(Bench(Path(folder), defect=defect))
            return benches[-1]

        yield make
        for made in benches:
            made.close()
