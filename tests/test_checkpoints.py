"""The checkpoint protocol on disk."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash

from launcher import checkpoints, durable
from launcher.checkpoints import ALONE, Fault, Fenced, NoSpace, Others
from launcher.errors import EnvironmentUnfit, JobFailed
from launcher.manifest import Damaged, Manifest, read, verify


class Run:
    """A run folder whose checkpoints hold two small files each."""

    def __init__(self, path: Path, attempt: int = 1) -> None:
        self.path, self.root, self.attempt = path, checkpoints.folder(path), attempt
        self.fence = checkpoints.claim(path, attempt)
        self.known: set[str] = set()
        self.faults: list[Fault] = []

    def save(
        self, step: int, *, model: bytes = b"weights", protected: bool = False, keep: int = 2, others: Others = ALONE
    ) -> Path:
        contents = {"model": [memoryview(model), memoryview(b"%d" % step)], "training": [memoryview(b"{}")]}
        manifest = blank(step, attempt=self.attempt, protected=protected)
        checkpoints.save(
            self.root,
            manifest,
            contents,
            fence=self.fence,
            keep=keep,
            known=self.known,
            report=self.faults.append,
            others=others,
        )
        return self.root / manifest.name

    def newest(self) -> str | None:
        found = checkpoints.newest_verified(self.root, self.faults.append)
        return found[0] if found else None

    def listing(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())


def blank(step: int, *, attempt: int = 1, protected: bool = False) -> Manifest:
    return Manifest(
        step=step, epoch=0, attempt=attempt, world_size=1, spec="0" * 64, created="then", protected=protected
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def test_a_saved_checkpoint_is_the_newest_verified_one(run: Run) -> None:
    run.save(7)
    name, manifest = checkpoints.newest_verified(run.root) or pytest.fail("none found")
    assert (name, manifest.step, manifest.files["model"].size) == ("step-00000007", 7, 8)


def test_a_run_without_checkpoints_has_no_newest_one(tmp_path: Path) -> None:
    assert checkpoints.newest_verified(tmp_path / "nowhere") is None


def test_every_flipped_byte_is_detected(run: Run) -> None:
    folder = run.save(1)
    flipped = 0
    for path in folder.iterdir():
        for offset in range(path.stat().st_size):
            flip(path, offset)
            with pytest.raises(Damaged):
                verify(folder)
            flip(path, offset)
            flipped += 1
    assert flipped > 400
    verify(folder)


def test_every_flipped_bit_of_the_manifest_is_detected(run: Run) -> None:
    manifest = run.save(1) / "manifest.json"
    for offset in range(manifest.stat().st_size):
        for bit in range(8):
            flip(manifest, offset, 1 << bit)
            with pytest.raises(Damaged, match=r"manifest\.json"):
                read(manifest.parent)
            flip(manifest, offset, 1 << bit)


@pytest.mark.parametrize("length", range(8))
def test_a_truncated_file_is_detected(run: Run, length: int) -> None:
    os.truncate(run.save(1) / "model", length)
    with pytest.raises(Damaged, match=f"model: {length} bytes where the manifest has 8"):
        verify(run.root / "step-00000001")


def drop(folder: Path) -> None:
    (folder / "training").unlink()


def add(folder: Path) -> None:
    (folder / "surplus").touch()


def swap(folder: Path) -> None:
    (folder / "model").rename(folder / "held")
    (folder / "training").rename(folder / "model")
    (folder / "held").rename(folder / "training")


def link(folder: Path) -> None:
    (folder / "model").rename(folder.parent / "elsewhere")
    (folder / "model").symlink_to(folder.parent / "elsewhere")


def pipe(folder: Path) -> None:
    (folder / "model").unlink()
    os.mkfifo(folder / "model")


def subfolder(folder: Path) -> None:
    (folder / "model").unlink()
    (folder / "model").mkdir()


def zeroes(folder: Path) -> None:
    (folder / "model").write_bytes(bytes(8))


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def other_steps_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(blank(9).to_bytes())


def planted_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(Manifest.to_bytes(blank(1)).replace(b"epoch", b"Epoch"))


def only_a_file(folder: Path) -> None:
    folder.rename(folder.parent / "moved")
    folder.write_bytes(b"not a folder")


@pytest.mark.parametrize(
    "harm",
    [
        drop,
        add,
        swap,
        link,
        pipe,
        subfolder,
        zeroes,
        no_manifest,
        other_steps_manifest,
        planted_manifest,
        only_a_file,
    ],
)
def test_a_harmed_checkpoint_is_set_aside_for_the_one_before(run: Run, harm: Callable[[Path], None]) -> None:
    run.save(1)
    harm(run.save(2))
    assert run.newest() == "step-00000001"
    (fault,) = run.faults
    assert (fault.checkpoint, fault.kept_as) == ("step-00000002", "bad-step-00000002-1")
    assert "bad-step-00000002-1" in run.listing()


def test_a_manifest_with_a_right_digest_and_wrong_fields_is_detected(run: Run) -> None:
    folder = run.save(1)
    for body in [b"[]", b'{"format": 1}', b'{"format": 1, "files": []}', b'{"format": 2}', b'{"format": 1, "files": 3']:
        (folder / "manifest.json").write_bytes(_signed(body))
        with pytest.raises(Damaged, match=r"manifest\.json"):
            verify(folder)


def _signed(body: bytes) -> bytes:
    return b'{"xxh3_128": "%b",' % xxhash.xxh3_128_hexdigest(body[1:]).encode() + body[1:]


def test_the_manifest_is_json_for_other_tools(run: Run) -> None:
    data = json.loads((run.save(3) / "manifest.json").read_text())
    assert (data["step"], data["files"]["training"]["size"]) == (3, 2)


def test_a_folder_under_another_steps_name_is_damaged(run: Run) -> None:
    run.save(1)
    (run.root / "step-00000001").rename(run.root / "step-00000005")
    assert run.newest() is None
    assert "it belongs to step 1" in str(run.faults[0])


def test_the_report_names_the_file_and_the_reason(run: Run) -> None:
    flip(run.save(1) / "training", 1)
    run.newest()
    assert str(run.faults[0]) == (
        "checkpoint step-00000001 is damaged: training: its bytes do not match the manifest's digest;"
        " kept as bad-step-00000001-1"
    )


def test_two_bad_ones_of_one_step_are_both_kept(run: Run) -> None:
    for _ in range(2):
        flip(run.save(1) / "model", 0)
        run.newest()
    assert run.listing() == ["bad-step-00000001-1", "bad-step-00000001-2"]


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs, which this container lacks")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


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
