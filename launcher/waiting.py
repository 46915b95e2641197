"""Waiting for something to come true."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object], patience: float) -> bool:
    """Whether it came true within so many seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
