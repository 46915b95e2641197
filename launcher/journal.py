"""What happens in a run, kept in its folder and told to who watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from launcher.store import RunFolder

Listener = Callable[[Mapping[str, Any]], None]

PROGRESS_SECONDS = 10.0
"""Between two lines of progress in the file at least so much time passes: a run of weeks must stay quick to fold."""

RANKS_OWN = ("steps_per_second", "memory", "gpu_memory", "gpu_busy")
"""What a rank's progress tells of that rank alone."""
MOST_RANKS = 64


class Journal:
    """A listener that keeps events before it passes them on.

    The ranks' output has files of its own, and of the progress rank 0's is kept, now and then, with what each of the
    first ranks told of its rate and its use of the node.
    """

    def __init__(self, folder: RunFolder, listener: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._listener = listener
        self._clock = clock
        self._progress_due = -float("inf")
        self._held_back: Mapping[str, Any] | None = None
        self._ranks: dict[str, dict[str, Any]] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "progress":
            if event.get("rank", 0) < MOST_RANKS:
                self._ranks[str(event.get("rank", 0))] = {key: event[key] for key in RANKS_OWN if key in event}
            if event.get("rank", 0) == 0:
                self._progress(event)
        elif event.get("event") != "log":
            self._folder.append_event(event)
        self._listener(event)

    def catch_up(self) -> None:
        """Keep how far the run has come."""
        if self._held_back is not None:
            shared = {key: value for key, value in self._held_back.items() if key not in RANKS_OWN[1:]}
            self._folder.append_event({**shared, "ranks": self._ranks})
            self._held_back = None

    def _progress(self, event: Mapping[str, Any]) -> None:
        self._held_back = event
        if self._clock() >= self._progress_due:
            self._progress_due = self._clock() + PROGRESS_SECONDS
            self.catch_up()
