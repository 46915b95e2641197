"""What happens in a run, kept in its folder and told to who watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from launcher.store import RunFolder

Listener = Callable[[Mapping[str, Any]], None]

PROGRESS_SECONDS = 10.0
"""Between two lines of progress in the file at least so much time passes: a run of weeks must stay quick to fold."""


class Journal:
    """A listener that keeps events before it passes them on.

    The ranks' output has files of its own, and of the progress rank 0's is kept, now and then.
    """

    def __init__(self, folder: RunFolder, listener: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._listener = listener
        self._clock = clock
        self._progress_due = -float("inf")

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._is_kept(event):
            self._folder.append_event(event)
        self._listener(event)

    def _is_kept(self, event: Mapping[str, Any]) -> bool:
        kind = event.get("event")
        if kind == "progress" and event.get("rank", 0) == 0 and self._clock() >= self._progress_due:
            self._progress_due = self._clock() + PROGRESS_SECONDS
            return True
        return kind not in ("log", "progress")
