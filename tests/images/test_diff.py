"""A planted nondeterminism is found and named."""

import os
import py_compile
from pathlib import Path

import pytest

from launcher.errors import RequestError
from launcher.images import archive, diff
from tests.images import make

FILES = [("etc/motd", b"welcome\n"), ("var/log/dpkg.log", b"one\ntwo\n")]


def differences(folder: Path, first: list[bytes], second: list[bytes], **config: object) -> list[str]:
    ours = archive.read(make.image(folder / "first.tar", first, user="10001"))
    theirs = archive.read(make.image(folder / "second.tar", second, **{"user": "10001", **config}))
    return [str(difference) for difference in diff.compare(ours, theirs)]


def test_the_same_image_has_no_difference(tmp_path: Path) -> None:
    assert differences(tmp_path, [make.layer(FILES)], [make.layer(FILES)]) == []


def test_a_planted_time_is_named_with_its_layer_and_file(tmp_path: Path) -> None:
    base = make.layer([("bin/sh", b"elf")])
    found = differences(tmp_path, [base, make.layer(FILES)], [base, make.layer(FILES, time=2000)])
    assert found[0] == "layer 1: etc/motd: time 1000.0 against 2000.0"


def test_a_planted_order_of_files_is_named(tmp_path: Path) -> None:
    found = differences(tmp_path, [make.layer(FILES)], [make.layer(FILES[::-1])])
    assert found == ["layer 0: etc/motd: the entries stand in another order, from this one on"]


def test_planted_bytecode_that_holds_a_time_is_named(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    compiled = []
    for text, time in (("a = 1\n", 1000), ("a = 1\n", 2000)):
        source.write_text(text)
        os.utime(source, (time, time))
        target = py_compile.compile(str(source), cfile=str(tmp_path / f"{time}.pyc"))
        compiled.append(make.layer([("lib/module.pyc", Path(str(target)).read_bytes())]))
    found = differences(tmp_path, [compiled[0]], [compiled[1]])
    assert found == ["layer 0: lib/module.pyc: bytecode that holds its source's time, 1000 against 2000"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"two\none\n", "the same lines in another order"),
        (b"one\ntwo\nthree\n", "content, 8 against 14 bytes"),
        (b"one\ntwi\n", "first at byte 6"),
    ],
)
def test_planted_content_is_described(data: bytes, what: str, tmp_path: Path) -> None:
    found = differences(tmp_path, [make.layer(FILES)], [make.layer([FILES[0], (FILES[1][0], data)])])
    assert len(found) == 1
    assert what in found[0]


def test_a_mode_and_a_missing_file_are_named(tmp_path: Path) -> None:
    found = differences(tmp_path, [make.layer(FILES)], [make.layer(FILES[:1], mode=0o600)])
    assert found == ["layer 0: etc/motd: mode 644 against 600", "layer 0: var/log/dpkg.log: only in the first"]


def test_a_setting_is_named(tmp_path: Path) -> None:
    found = differences(tmp_path, [make.layer(FILES)], [make.layer(FILES)], user="0")
    assert found == ["configuration: config.user: 10001 against 0"]


def test_something_else_than_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(RequestError, match="is not an image archive"):
        archive.read(tmp_path / "text.tar")
