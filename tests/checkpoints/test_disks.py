"""Disks that are full, failing, or not ours to read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher import checkpoints
from launcher.checkpoints import NoSpace, Others
from launcher.errors import EnvironmentUnfit, JobFailed
from tests.checkpoints.made import Run


def test_too_little_space_is_said_before_anything_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((1, 1, 9, 9, 7, 0, 0, 0, 0, 255)))
    with pytest.raises(NoSpace, match=r"a checkpoint needs 10 bytes, 7 are free") as caught:
        run.save(2)
    assert "checkpoint.keep=2" in (caught.value.hint or "")
    assert run.listing() == ["step-00000001"]


def test_the_space_that_a_checkpoint_needs_is_that_of_all_who_write_it(run: Run) -> None:
    with pytest.raises(NoSpace, match=r"a checkpoint needs 4,611,686,018,427,387,914 bytes"):
        run.save(1, others=Others(size=1 << 62))


def test_a_failing_disk_leaves_the_earlier_one_and_no_litter(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JobFailed, match="the checkpoint of step 2 could not be saved"):
        run.save(2)
    assert run.listing() == ["step-00000001"]


def test_a_folder_we_may_not_read_is_not_taken_for_damage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save(1)

    def refuse(*args: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(EnvironmentUnfit, match=r"cannot be read: .*Permission denied"):
        run.newest()
    assert run.listing() == ["step-00000001"]


def test_a_disk_that_is_full_keeps_the_earlier_one(small_disk: Path) -> None:
    run = Run(small_disk)
    run.save(1, model=bytes(100_000))
    with pytest.raises(NoSpace, match="a checkpoint needs 200,003 bytes"):
        run.save(2, model=bytes(200_000))
    assert run.newest() == "step-00000001"
    run.save(3, model=bytes(50_000))


def test_a_disk_that_fills_up_while_we_write_keeps_the_earlier_one(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(small_disk)
    run.save(1, model=bytes(100_000))
    monkeypatch.setattr(checkpoints, "_free", lambda root: 1 << 40)
    with pytest.raises(NoSpace, match="no space left in"):
        run.save(2, model=bytes(200_000))
    assert run.listing() == ["step-00000001"]
