"""Tensor files read into memory of one's own, every byte of which was compared with the manifest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from launcher import durable
from launcher.manifest import Damaged, FileDigest
from launcher.worker import reading, tensors

STATE = {"moment": torch.randn(700, 500), "step": torch.tensor(3.0), "mask": torch.ones(3, dtype=torch.bool)}


def written(folder: Path, content: bytes | None = None) -> FileDigest:
    image = tensors.Buffer(pinned=False).snapshot(STATE) if content is None else memoryview(content)
    return durable.write(folder / "file", [image])


def test_every_tensor_comes_back_where_torch_would_have_put_it(tmp_path: Path) -> None:
    found = reading.owned(tmp_path, "file", written(tmp_path))
    assert all(torch.equal(found[name], value) for name, value in STATE.items())
    assert all(value.data_ptr() % reading.ALIGNMENT == 0 for value in found.values())


def test_tied_tensors_are_one_again(tmp_path: Path) -> None:
    weight = torch.ones(4)
    expected = durable.write(tmp_path / "file", [tensors.Buffer(pinned=False).snapshot({"a": weight, "b": weight})])
    found = reading.owned(tmp_path, "file", expected)
    assert found["a"] is found["b"]


def test_a_file_system_that_gives_few_bytes_at_a_time_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, pieces, offset: whole(file, [pieces[0][:70_001]], offset))
    found = reading.owned(tmp_path, "file", written(tmp_path))
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def test_a_flipped_bit_is_detected_wherever_it_lies(tmp_path: Path) -> None:
    expected = written(tmp_path)
    sound = (tmp_path / "file").read_bytes()
    for place in [*range(0, 400, 9), *range(400, len(sound), 49_999), len(sound) - 1]:
        (tmp_path / "file").write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(Damaged, match="do not match"):
            reading.owned(tmp_path, "file", expected)


def test_a_file_of_another_length_is_damaged(tmp_path: Path) -> None:
    expected = written(tmp_path)
    with (tmp_path / "file").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(Damaged, match="bytes where the manifest has"):
        reading.owned(tmp_path, "file", expected)


@pytest.mark.parametrize("content", [b"", b"short", b"\2\0\0\0\0\0\0\0{}more"], ids=["empty", "short", "more"])
def test_a_sound_file_that_holds_no_tensors_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|one behind the other"):
        reading.owned(tmp_path, "file", written(tmp_path, content))
