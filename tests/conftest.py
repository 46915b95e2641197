"""How the whole suite runs: in several processes at once, with the same examples every time."""

from __future__ import annotations

import os

from hypothesis import settings

MOST = 8

settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: a test of a real run waits for that run half of its time."""
    return min(MOST, 2 * len(os.sched_getaffinity(0)))
