"""How the whole suite runs: in several processes at once."""

from __future__ import annotations

import os

MOST = 8


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core: a test of a real run waits for that run half of its time."""
    return min(MOST, 2 * len(os.sched_getaffinity(0)))
