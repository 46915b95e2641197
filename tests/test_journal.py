from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launcher import store
from launcher.journal import PROGRESS_SECONDS, Journal
from launcher.store import RunFolder


class Watch:
    """A listener, and the clock that the journal looks at."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.now = 100.0


@pytest.fixture
def watch() -> Watch:
    return Watch()


def journal(folder: RunFolder, watch: Watch) -> Journal:
    return Journal(folder, watch.told.append, lambda: watch.now)


def kept(folder: RunFolder) -> list[Any]:
    return [event.get("step", event["event"]) for event in store.events(folder)]


def test_all_progress_is_told_and_little_of_it_kept(tmp_path: Path, watch: Watch) -> None:
    folder = RunFolder(tmp_path)
    tell = journal(folder, watch)
    for step in range(1, 101):
        for rank in (0, 1):
            tell({"event": "progress", "rank": rank, "step": step})
        watch.now += PROGRESS_SECONDS / 50
    assert len(watch.told) == 200
    assert kept(folder) == [1, 51]


def test_what_happens_once_is_always_kept_and_output_never(tmp_path: Path, watch: Watch) -> None:
    folder = RunFolder(tmp_path)
    tell = journal(folder, watch)
    for kind in ("attempt", "log", "checkpoint", "checkpoint", "finished"):
        tell({"event": kind})
    assert kept(folder) == ["attempt", "checkpoint", "checkpoint", "finished"]


def test_at_the_end_the_newest_progress_is_kept_too(tmp_path: Path, watch: Watch) -> None:
    folder = RunFolder(tmp_path)
    tell = journal(folder, watch)
    for step in (1, 2, 3):
        tell({"event": "progress", "step": step})
    tell.catch_up()
    assert kept(folder) == [1, 3]
