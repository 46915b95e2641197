from pathlib import Path

import pytest

from launcher import target
from launcher.errors import RequestError
from launcher.spec import TaskSpec


def check(folder: Path, source: str | None, name: str = "build") -> None:
    if source is not None:
        (folder / "task.py").write_text(source)
    target.check(TaskSpec(target=f"task.py:{name}"), folder / "job.yaml")


@pytest.mark.parametrize(
    "source",
    [
        "def build(): pass",
        "class build: pass",
        "build = print",
        "build: object = None",
        "from elsewhere import thing as build",
        "from elsewhere import *",
        "try:\n    import fast as build\nexcept ImportError:\n    def build(): pass",
        "if True:\n    with open('x') as build: pass",
    ],
)
def test_a_name_the_file_may_bind_is_accepted(tmp_path: Path, source: str) -> None:
    check(tmp_path, source)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        check(tmp_path, None)


def test_a_missing_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as refusal:
        check(tmp_path, "def bulid(): pass")
    assert refusal.value.hint == "did you mean bulid?"


def test_a_name_inside_a_function_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        check(tmp_path, "def other():\n    def build(): pass")


def test_a_file_that_is_no_python_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"task\.py:2 "):
        check(tmp_path, "x = 1\ndef build(:\n")


def test_a_module_is_left_to_the_worker(tmp_path: Path) -> None:
    target.check(TaskSpec(target="package.module:build"), tmp_path / "job.yaml")
