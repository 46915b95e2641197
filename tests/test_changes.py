"""What is told of code that is no longer what the run began with."""

import json
import subprocess
from pathlib import Path

import pytest

from launcher import changes, provenance
from launcher.store import RunFolder


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    """The folder of a run whose job lies in `code`, under git."""
    code = tmp_path / "code"
    code.mkdir()
    for name in ("job.yaml", "task.py", "layers.py"):
        (code / name).write_text("a = 1\n")
    git(code, "init", "-q")
    commit(code)
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    record, patch = provenance.gather("job", "task.py:build", b"", code / "job.yaml")
    folder.record.write_text(json.dumps(record))
    folder.patch.write_text(patch)
    return folder


def git(code: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=code, check=True)


def commit(code: Path) -> None:
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "one")


def test_of_what_is_as_it_was_nothing_is_told(begun: RunFolder) -> None:
    assert changes.since(begun) == []


@pytest.mark.parametrize("name", ["task.py", "layers.py"])
def test_a_changed_file_is_named_once(begun: RunFolder, name: str) -> None:
    (begun.path.parent / "code" / name).write_text("a = 2\n")
    (told,) = changes.since(begun)
    assert told.endswith(f"{name} has changed")


def test_another_commit_is_named(begun: RunFolder) -> None:
    (begun.path.parent / "code" / "layers.py").write_text("a = 2\n")
    commit(begun.path.parent / "code")
    (told,) = changes.since(begun)
    assert told.startswith("the commit was ")


def test_another_torch_is_named(begun: RunFolder) -> None:
    record = json.loads(begun.record.read_text())
    record["versions"]["torch"] = "2.0.0"
    begun.record.write_text(json.dumps(record))
    (told,) = changes.since(begun)
    assert told.startswith("torch was 2.0.0 and is ")


def test_a_damaged_record_tells_nothing(begun: RunFolder) -> None:
    begun.record.write_text('{"git": 1, "target": [], "versions": null, "job_path": 3}')
    assert changes.since(begun) == []
