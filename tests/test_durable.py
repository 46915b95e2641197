"""File operations that last."""

from __future__ import annotations

import mmap
import random
from pathlib import Path

import pytest
import xxhash

from launcher import durable
from launcher.manifest import BLOCK, digest_of


@pytest.mark.parametrize("offset", [0, 1, 512])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 4096])
def test_what_is_written_is_read_whatever_its_size_and_place_in_memory(tmp_path: Path, size: int, offset: int) -> None:
    memory = mmap.mmap(-1, offset + size + 1)
    memory[:] = random.Random(size).randbytes(len(memory))  # noqa: S311
    piece = memoryview(memory)[offset : offset + size]
    digest = durable.write(tmp_path / "file", [piece])
    assert (tmp_path / "file").read_bytes() == piece
    assert (digest.size, digest.xxh3_128) == (size, xxhash.xxh3_128_hexdigest(piece))
    assert digest_of(tmp_path / "file", from_disk=True) == digest_of(tmp_path / "file") == digest


def test_pieces_follow_each_other_in_the_file(tmp_path: Path) -> None:
    large = memoryview(mmap.mmap(-1, BLOCK))
    durable.write(tmp_path / "file", [memoryview(b"first"), large, memoryview(b"last")])
    assert (tmp_path / "file").read_bytes() == b"first" + bytes(BLOCK) + b"last"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError):
        durable.write(tmp_path / "file", [memoryview(b"other")])
    assert (tmp_path / "file").read_text() == "precious"


def test_replacing_a_file_survives_a_replacement_left_half_done(tmp_path: Path) -> None:
    (tmp_path / ".attempt.new").write_text("torn")
    durable.replace(tmp_path / "attempt", b"7\n")
    assert [path.name for path in tmp_path.iterdir()] == ["attempt"]


def test_a_free_name_is_found_beside_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "bad-1").symlink_to("nowhere")
    (tmp_path / "file").touch()
    assert durable.rename_to_free(tmp_path / "file", "bad").name == "bad-2"
