"""What is found before a checkpoint is used, and what is taken in its place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

from launcher import checkpoints
from launcher.manifest import Damaged, Manifest, read, verify
from tests.checkpoints.made import Run, blank, flip


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
