import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import starter
from launcher.spec import TaskKind
from tests import long

from .conftest import Cli

ROOT = Path(__file__).parents[2]
KINDS = ("native", "lightning", "ignite", "script")


@pytest.mark.parametrize("kind", long.but(["native"], KINDS))
def test_a_new_project_passes_its_own_test(kind: TaskKind, tmp_path: Path, launcher: Cli) -> None:
    """It trains for real."""
    assert launcher("init", tmp_path / "moons", "--kind", kind).code == 0
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "moons")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_projects_dockerfile_has_no_fault(kind: str, tmp_path: Path) -> None:
    starter.make(tmp_path / "moons", kind)
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("no hadolint: ./install --tests")
    done = subprocess.run([hadolint, tmp_path / "moons" / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_runs_stay_out_of_commits_and_images(tmp_path: Path) -> None:
    starter.make(tmp_path / "moons", "native")
    for name in (".gitignore", ".dockerignore"):
        assert "runs/" in (tmp_path / "moons" / name).read_text().splitlines()


def test_the_job_is_named_after_the_folder(tmp_path: Path, launcher: Cli) -> None:
    launcher("init", tmp_path / "my first job")
    assert "\nname: my-first-job\n" in (tmp_path / "my first job" / "job.yaml").read_text()
    assert launcher("validate", tmp_path / "my first job" / "job.yaml").code == 0


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path, launcher: Cli) -> None:
    (tmp_path / "mine").write_text("x")
    said = launcher("init", tmp_path)
    assert said.code == 2 and f"{tmp_path} is not an empty folder" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_a_wrong_request(tmp_path: Path, launcher: Cli) -> None:
    (tmp_path / "file").write_text("x")
    said = launcher("init", tmp_path / "file" / "moons")
    assert said.code == 2 and "cannot be written" in said.err
