"""Finding and calling what the job names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import JobFailed, RequestError
from launcher.spec import TaskSpec
from launcher.worker import target


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "random.py").write_text("def build(width: int = 3, *, depth: int = 1): return width, depth\n")
    (tmp_path / "near_by.py").write_text("import not_there_at_all\n")
    (tmp_path / "leaving.py").write_text("import sys\ndef build(): sys.exit(7)\ndef fail(): raise KeyError('mine')\n")
    return tmp_path


def call(folder: Path, text: str, **args: Any) -> Any:
    return target.call(TaskSpec(target=text, args=args), folder)


def test_a_function_in_a_file_is_called_with_the_arguments(folder: Path) -> None:
    assert call(folder, "tasks/random.py:build", width=5) == (5, 1)


def test_a_file_hides_no_module_of_its_name(folder: Path) -> None:
    call(folder, "tasks/random.py:build")
    import random

    assert random.random() < 1  # noqa: S311


def test_a_package_that_the_target_lacks_is_named_with_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "EXTRAS", {"not_there_at_all": "measures"})
    with pytest.raises(RequestError, match="imports not_there_at_all, which is not installed here") as caught:
        call(folder, "near_by.py:build")
    assert caught.value.hint == "pip install 'launcher[measures]'"


def test_a_module_beside_the_job_file_can_be_named(folder: Path) -> None:
    assert call(folder, "tasks.random:build", depth=2) == (3, 2)


@pytest.mark.parametrize(
    ("text", "args", "message", "hint"),
    [
        ("tasks/randon.py:build", {}, "there is no file", "random.py"),
        ("tasks/random.py:biuld", {}, "biuld is not defined there", "did you mean build"),
        ("tasks/random.py:__name__", {}, "is not a function", "it defines build"),
        ("tasks.nowhere:build", {}, "there is no module tasks.nowhere", "beside the job file"),
        ("tasks/random.py:build", {"widht": 3}, "unexpected keyword.*did you mean width", "build.width: int = 3"),
        ("build", {}, "names no function", "path/to/file.py:function"),
    ],
)
def test_a_wrong_request_says_what_is_there(
    folder: Path, text: str, args: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        call(folder, text, **args)
    assert hint.replace("(", ".") in (caught.value.hint or "").replace("(", ".")


def test_an_error_of_the_users_code_comes_through_as_it_is(folder: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        call(folder, "leaving.py:fail")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        call(folder, "near_by:build")


def test_a_target_that_leaves_has_failed(folder: Path) -> None:
    with pytest.raises(JobFailed, match=r"called sys.exit\(7\)"):
        call(folder, "leaving.py:build")
