"""`python -m launcher.trackers RUN_DIR NAME`: mirrors a run until standard input ends, then what is left, then ends."""

from __future__ import annotations

import json
import math
import select
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher import trackers
from launcher.store import RunFolder, write_whole
from launcher.trackers.tail import Tail

INTERVAL = 1.0
"""Seconds between two looks at the files."""


def main() -> int:
    folder, name = RunFolder(Path(sys.argv[1])), sys.argv[2]
    notes = folder.path / "trackers" / f"{name}.json"
    notes.parent.mkdir(mode=0o700, exist_ok=True)
    kept: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    tracker = trackers.begin(name, trackers.describe(folder, kept))
    metrics, events = Tail(folder.metrics), Tail(folder.events)
    state, ended = "UNKNOWN", False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], INTERVAL)[0])  # the launcher says nothing: this is its end
        for event in events.read():
            state = event["state"] if event.get("event") == "finished" else state
            tracker.event(event)
        for step, values in _new(metrics.read(), kept):
            tracker.log(step, values)
        tracker.flush()
        write_whole(notes, json.dumps(kept))
    tracker.close(state)
    write_whole(notes, json.dumps(kept))
    return 0


def _new(lines: Iterator[dict[str, Any]], kept: dict[str, Any]) -> Iterator[tuple[int, Mapping[str, float]]]:
    """The values not mirrored yet. A resume writes the same bits again for the steps after its checkpoint."""
    for line in lines:
        is_validation = "validation" in line
        position = [line.pop("step"), is_validation]
        if position <= kept.get("position", [0, False]):
            continue
        given = {f"validation/{key}": value for key, value in line["validation"].items()} if is_validation else line
        values = {key: value for key, value in given.items() if key != "epoch" and value is not None}
        yield position[0], {key: value for key, value in values.items() if math.isfinite(value)}
        kept["position"] = position


if __name__ == "__main__":
    sys.exit(main())
