"""The folder that a node's processes share for their sockets."""

import tempfile
from pathlib import Path

import pytest

from launcher import scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "LONGEST", len(str(tmp_path)) + 40)
    return tmp_path


def made(run_dir: str = "runs/r", node_rank: int = 0) -> Path | None:
    (folder,) = scratch.made(run_dir, node_rank).values()
    return Path(folder) if folder else None


def test_it_is_there_until_it_is_removed(temporary: Path) -> None:
    folder = made()
    assert folder is not None and folder.is_dir()
    scratch.remove("runs/r", 0)
    assert not any(temporary.iterdir())


def test_the_next_attempt_clears_what_a_killed_one_left(temporary: Path) -> None:
    left = made()
    assert left is not None
    (left / "listener-a").touch()
    assert made() == left and not any(left.iterdir())


def test_each_node_of_each_run_has_its_own(temporary: Path) -> None:
    assert len({made(run, node) for run in ("runs/r", "runs/s") for node in (0, 1)} - {None}) == 4


def test_a_place_too_deep_for_a_socket_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "LONGEST", len(str(temporary)))
    assert made() is None and not any(temporary.iterdir())


def test_what_another_one_has_put_there_is_left_alone(temporary: Path) -> None:
    taken = made()
    assert taken is not None
    taken.rmdir()
    taken.symlink_to(temporary.parent)
    assert made() is None and temporary.exists()
