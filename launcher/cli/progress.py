"""Shows a run while it goes: a live bar on a terminal, plain lines elsewhere, JSON lines on request."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from launcher.cli.wording import position, sentences, shows_progress

Listener = Callable[[Mapping[str, Any]], None]

QUIET_SECONDS = 5.0
"""Between two plain lines of progress at least so much time passes."""


@contextmanager
def watched(*, as_json: bool) -> Iterator[Listener]:
    """The listener that suits the output."""
    if as_json:
        yield unheard(JsonLines(sys.stdout))
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from launcher.cli.bar import live_bar

        with live_bar() as bar:
            yield unheard(bar)
    else:
        yield unheard(PlainLines(sys.stdout))


class JsonLines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(event) + "\n")
        self._out.flush()


class PlainLines:
    """Every event in words; of the progress one line in a while."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._due = -float("inf")

    def __call__(self, event: Mapping[str, Any]) -> None:
        lines = list(sentences(event))
        if shows_progress(event) and self._clock() >= self._due:
            self._due = self._clock() + QUIET_SECONDS
            lines = [position(event)]
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()


def unheard(listener: Listener) -> Listener:
    """A listener that falls silent when nobody reads any more: the run must not end because `head` did, and must save
    when the terminal was closed."""
    open_ended = True

    def tell(event: Mapping[str, Any]) -> None:
        nonlocal open_ended
        if open_ended:
            try:
                listener(event)
            except OSError:
                open_ended = False

    return tell
