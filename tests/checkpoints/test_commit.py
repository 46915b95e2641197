"""Who may commit a checkpoint, and what becomes of a step that is saved twice."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from launcher import checkpoints, durable
from launcher.checkpoints import Fenced
from launcher.manifest import Manifest, read
from tests.checkpoints.made import Run, blank, flip


def test_folders_and_files_are_for_their_owner_only(run: Run) -> None:
    folder = run.save(1)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (run.root, folder)}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_an_attempt_with_a_successor_cannot_commit(run: Run, tmp_path: Path) -> None:
    run.save(1)
    Run(tmp_path, attempt=2)
    with pytest.raises(Fenced, match="attempt 1 may not save checkpoints any more"):
        run.save(2)
    assert run.listing() == ["step-00000001"]


def test_an_attempt_with_a_successor_cannot_even_begin(tmp_path: Path) -> None:
    Run(tmp_path, attempt=2)
    with pytest.raises(Fenced):
        Run(tmp_path, attempt=1)


def test_an_orphan_caught_in_mid_save_by_its_successor_is_told_so(run: Run, tmp_path: Path) -> None:
    temporary = checkpoints.begin(run.root, 5, 1)
    Run(tmp_path, attempt=2)
    assert not temporary.exists()
    assert run.listing() == []


def test_two_starts_of_one_attempt_never_share_a_folder(run: Run, tmp_path: Path) -> None:
    first, second = (checkpoints.begin(run.root, 5, 1) for _ in range(2))
    assert first != second
    for folder in (first, second):
        files = {"model": durable.write(folder / "model", [memoryview(b"same")])}
        checkpoints.commit(folder, Manifest(**{**vars(blank(5)), "files": files}), run.fence)
    assert run.newest() == "step-00000005"


def test_a_new_attempt_clears_what_older_ones_left_half_done(run: Run, tmp_path: Path) -> None:
    run.save(1)
    checkpoints.begin(run.root, 2, 1)
    (run.root / ".gone-step-00000000-1").mkdir()
    ours = checkpoints.begin(run.root, 3, 2)
    Run(tmp_path, attempt=2)
    assert run.listing() == [ours.name, "step-00000001"]


def test_a_replayed_step_with_the_same_bytes_is_kept(run: Run, tmp_path: Path) -> None:
    before = (run.save(1) / "manifest.json").read_bytes()
    Run(tmp_path, attempt=2).save(1)
    assert (run.root / "step-00000001" / "manifest.json").read_bytes() == before
    assert run.listing() == ["step-00000001"]


def test_a_replayed_step_with_other_bytes_replaces_the_first_and_keeps_it(run: Run, tmp_path: Path) -> None:
    run.save(1, model=b"first")
    folder = Run(tmp_path, attempt=2).save(1, model=b"second")
    assert (folder / "model").read_bytes() == b"second1"
    assert (run.root / "replaced-step-00000001-1" / "model").read_bytes() == b"first1"


def test_a_replaced_step_survives_a_file_system_that_cannot_swap(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())
    test_a_replayed_step_with_other_bytes_replaces_the_first_and_keeps_it(run, tmp_path)


def test_a_damaged_one_in_the_way_of_a_replayed_step_is_set_aside(run: Run) -> None:
    flip(run.save(1) / "model", 0)
    run.save(1)
    assert run.listing() == ["bad-step-00000001-1", "step-00000001"]


def test_a_step_saved_again_as_the_best_one_becomes_protected(run: Run) -> None:
    run.save(1)
    run.save(1, protected=True)
    assert read(run.root / "step-00000001").protected
    assert run.listing() == ["step-00000001"]
