"""metrics.jsonl: one line a logged step and one a validation, written by rank 0.

The lines hold nothing but what follows from the training (no clock), and a resume cuts off what lies after its
checkpoint: so the file of a run that was stopped and resumed has the same bytes as that of one never disturbed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import readback
from launcher.errors import JobFailed


class MetricsFile:
    """Appends whole lines. Open it at the step the training goes on from; step 0 begins anew."""

    def __init__(self, path: Path, *, step: int, validated: bool) -> None:
        """`validated`: whether the line of the step's validation, if any, is to be kept."""
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            with readback.opened(path) as file:
                kept = sum(len(line) for line in _lines_until(file.read(), step, validated))
            os.ftruncate(self.file, kept)
        except OSError as error:
            raise JobFailed(f"{path} cannot be continued: {error.strerror}", hint=f"mv {path} {path}.bad") from error

    def log(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        self._append({"step": step, "epoch": epoch, **values})

    def validated(self, step: int, epoch: int, metrics: Mapping[str, float | None]) -> None:
        self._append({"step": step, "epoch": epoch, "validation": dict(metrics)})

    def sync(self) -> None:
        """Bring every line to the disk: a checkpoint must never be newer than the metrics it follows."""
        os.fsync(self.file)

    def close(self) -> None:
        os.close(self.file)

    def _append(self, line: Mapping[str, Any]) -> None:
        os.write(self.file, json.dumps(line, allow_nan=False).encode() + b"\n")


def _lines_until(content: bytes, step: int, validated: bool) -> list[bytes]:
    """The whole lines up to a step; a line torn by a crash ends them."""
    kept = []
    for line in content.splitlines(keepends=True):
        entry = _entry(line)
        if entry is None or entry["step"] > step or (entry["step"] == step and "validation" in entry and not validated):
            break
        kept.append(line)
    return kept


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None
