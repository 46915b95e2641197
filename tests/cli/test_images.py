"""`launcher images`: what its commands end with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.images import locking, locks, trial, versions
from launcher.images.trial import Result

from .conftest import Cli


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (None, 0), (False, 1)])
def test_an_image_that_fails_a_trial_ends_the_test_with_1(
    passed: bool | None, code: int, launcher: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(*_arguments: object) -> Iterator[Result]:
        yield Result(name="first", passed=passed, saw="seen")
        yield Result(name="last", passed=True)

    monkeypatch.setattr(trial, "run", results)
    done = launcher("images", "test", "cpu")
    assert done.code == code
    assert "last" in done.out


def test_an_unknown_variant_names_the_nearest(launcher: Cli) -> None:
    done = launcher("images", "build", "cu13")
    assert done.code == 2
    assert "did you mean" in done.err


def test_checking_an_upgrade_writes_nothing(launcher: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(versions.ROOT / "images", tmp_path / "images")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.t*")}
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    monkeypatch.setattr(locking, "make", lambda *_: {"cpu": locks.read(tmp_path, "cpu").replace("click==", "click==9")})
    assert launcher("images", "lock", "--upgrade", "--check").code == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.t*")} == before


def test_comparing_what_is_no_image_is_a_wrong_request(launcher: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("no image")
    assert launcher("images", "diff", str(tmp_path / "a.tar"), str(tmp_path / "a.tar")).code == 2


def test_every_variant_is_listed_with_what_it_needs(launcher: Cli) -> None:
    done = launcher("images", "list")
    assert "an NVIDIA driver from 525.60.13 on, 570.26 for every feature" in done.out
    assert done.out.count("agrees with the pin file") == 4
