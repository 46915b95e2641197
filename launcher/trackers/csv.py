"""metrics.csv in the run folder: one row a step, one column a metric; written anew from metrics.jsonl each time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from launcher.store import write_whole
from launcher.trackers import Run
from launcher.trackers.tail import Tail


class Table:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._grown = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._grown = True

    def event(self, event: Mapping[str, Any]) -> None:
        pass

    def flush(self) -> None:
        if self._grown:
            write_whole(self._run.folder.path / "metrics.csv", _table(self._run))
            self._grown = False

    def close(self, state: str) -> None:
        write_whole(self._run.folder.path / "metrics.csv", _table(self._run))


begin = Table


def _table(run: Run) -> str:
    rows: dict[int, dict[str, Any]] = {}
    for line in Tail(run.folder.metrics).read():
        validation = line.pop("validation", {})
        row = rows.setdefault(line["step"], {})
        row |= line | {f"validation/{name}": value for name, value in validation.items()}
    columns = dict.fromkeys(key for row in rows.values() for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    return text.getvalue()
