"""Which checkpoints are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import checkpoints
from launcher.manifest import Damaged, Manifest
from tests.checkpoints.made import Run, flip


def test_the_newest_ones_are_kept(run: Run) -> None:
    for step in range(1, 6):
        run.save(step, keep=3)
    assert run.listing() == ["step-00000003", "step-00000004", "step-00000005"]


def test_the_best_one_outlives_the_pruning_until_a_better_one_comes(run: Run) -> None:
    for step in range(1, 6):
        run.save(step, protected=step == 1)
    assert run.listing() == ["step-00000001", "step-00000004", "step-00000005"]
    run.save(6, protected=True)
    assert run.listing() == ["step-00000005", "step-00000006"]


def test_one_that_was_just_saved_is_not_pruned_for_a_later_step(run: Run) -> None:
    for step in (8, 9, 1):
        run.save(step)
    assert run.listing() == ["step-00000001", "step-00000008", "step-00000009"]


def test_a_damaged_one_does_not_count_as_kept(run: Run) -> None:
    run.save(1), run.save(2)
    flip(run.root / "step-00000002" / "model", 0)
    run.known.clear()
    run.save(3)
    assert run.listing() == ["bad-step-00000002-1", "step-00000001", "step-00000003"]
    assert "model" in str(run.faults[0])


def test_fewer_than_two_cannot_be_kept(run: Run) -> None:
    with pytest.raises(ValueError, match="at least two"):
        checkpoints.prune(run.root, keep=1)


def test_nothing_is_deleted_before_the_new_one_was_read_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1), run.save(2)

    def rot(temporary: Path, manifest: Manifest, fence: checkpoints.Fence) -> Path:
        final = commit(temporary, manifest, fence)
        flip(final / "model", 0)
        return final

    commit = checkpoints.commit
    monkeypatch.setattr(checkpoints, "commit", rot)
    with pytest.raises(Damaged):
        run.save(3)
    assert run.listing() == ["step-00000001", "step-00000002", "step-00000003"]
