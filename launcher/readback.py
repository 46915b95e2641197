"""Reads files that this program wrote once, whatever has become of them: cut, flipped, huge, replaced by a pipe."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_FILE = 64 << 20
LONGEST_LINE = 1 << 20
"""Bytes; what is longer is not ours."""


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError or ValueError."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE:,} bytes")
        value = _value(file.read(LARGEST_FILE) or b"")
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def json_object_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return json_object(path)
    except (OSError, ValueError):
        return None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, in order; a torn or damaged line is passed over, a missing file is empty."""
    with contextlib.suppress(OSError), opened(path) as file:
        while line := file.readline(LONGEST_LINE):
            with contextlib.suppress(ValueError):
                value = _value(line)
                if isinstance(value, dict):
                    yield value


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, to read. Raises OSError, also for what only looks like one."""

    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a planted pipe must not hold us up

    with open(path, "rb", opener=without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.ENXIO, "not a regular file", str(path))
        yield file


def _value(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
