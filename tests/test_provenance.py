import subprocess
from pathlib import Path

import pytest

from launcher import provenance


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text("name: a\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_commit_is_recorded_without_a_patch(repository: Path) -> None:
    record, patch = provenance.gather("a", "a.py:build", b"name: a\n", repository / "job.yaml")
    assert len(record["git"]["commit"]) == 40
    assert (record["git"]["dirty"], patch) == (False, "")


def test_what_the_commit_does_not_hold_is_recorded_as_a_patch(repository: Path) -> None:
    (repository / "job.yaml").write_text("name: b\n")
    (repository / "new.py").write_text("x = 1\n")
    record, patch = provenance.gather("b", "a.py:build", b"name: b\n", repository / "job.yaml")
    assert record["git"]["dirty"] is True
    assert record["git"]["untracked"] == ["new.py"]
    assert "+name: b" in patch


def test_outside_a_repository_the_record_says_nothing_of_git(tmp_path: Path) -> None:
    record, patch = provenance.gather("a", "a.py:build", b"", tmp_path / "job.yaml")
    assert (record["git"], patch) == (None, "")
    assert {"launcher", "python", "torch"} <= record["versions"].keys()
