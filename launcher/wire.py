"""JSON lines over pipes that may stall: reading never waits, writing never waits for a reader that has stopped."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_WAITING = 1 << 20
"""Bytes that may wait for a slow reader; beyond it, what can be done without (logs, progress) is dropped."""
MOST_LOG = 1 << 16
"""Bytes of log passed on at one look; the file holds all of it."""

DISPENSABLE = frozenset({"log", "progress", "alive"})


class Inbox:
    """Messages from a pipe, and when the last one came."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.closed = False
        self.heard_at = time.monotonic()
        self._part = b""
        self._put_back: list[dict[str, Any]] = []

    def first(self) -> dict[str, Any] | None:
        """Wait for the first line; None if there is none or it is no JSON object."""
        while b"\n" not in self._part:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                return None
            self._part += data
        os.set_blocking(self.descriptor, False)
        self.heard_at = time.monotonic()
        line, _, self._part = self._part.partition(b"\n")
        return _object(line)

    def read(self) -> list[dict[str, Any]]:
        """The whole lines that are there now."""
        try:
            while True:
                data = os.read(self.descriptor, 1 << 16)
                if not data:
                    self.closed = True
                    break
                self.heard_at = time.monotonic()
                self._part += data
        except BlockingIOError:
            pass
        *lines, self._part = self._part.split(b"\n")
        earlier, self._put_back = self._put_back, []
        return earlier + [message for line in lines if (message := _object(line)) is not None]

    def put_back(self, messages: list[dict[str, Any]]) -> None:
        """Let the next `read` give them first."""
        self._put_back = messages + self._put_back


class Outbox:
    """Messages for a pipe whose reader may be slow, stopped or gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._gone = False
        os.set_blocking(descriptor, False)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Mapping[str, Any]) -> None:
        if message.get("event") in DISPENSABLE and len(self._waiting) > MOST_WAITING:
            return
        self._waiting += json.dumps(message).encode() + b"\n"

    def close(self) -> None:
        """Say nothing more; what was waiting is dropped."""
        self._gone = True

    def flush(self, patience: float = 0.0) -> None:
        """Write what the reader takes; with patience, wait so many seconds for it to take everything."""
        deadline = time.monotonic() + patience
        while self._waiting and not self._gone:
            try:
                del self._waiting[: os.write(self._descriptor, self._waiting)]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                select.select([], [self._descriptor], [], left)
            except OSError:
                self._gone = True


class LogTail:
    """What has been added to a log since the last look, as `log` events."""

    def __init__(self, path: Path, rank: int = 0) -> None:
        self._path = path
        self._rank = rank
        self._offset = 0

    def read(self, *, everything: bool = False) -> Iterator[dict[str, Any]]:
        """Whole lines only, unless `everything`; of a flood, the last part and how much was left out."""
        with contextlib.suppress(OSError), self._path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            if size == self._offset:
                return
            left_out = max(0, size - self._offset - MOST_LOG)
            log.seek(self._offset + left_out)
            data = log.read(MOST_LOG)
            if not everything:
                data = data[: data.rfind(b"\n") + 1]
            self._offset += left_out + len(data)
            if left_out:
                yield {
                    "event": "warning",
                    "text": f"rank {self._rank}: {left_out} bytes of output are only in {self._path}",
                }
            if data:
                yield {"event": "log", "rank": self._rank, "text": data.decode(errors="replace")}


def _object(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        value = json.loads(line)
        if isinstance(value, dict):
            return value
    return None
