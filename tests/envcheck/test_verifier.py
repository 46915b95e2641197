"""The verifier as a library: look at this machine for a job, judge, report; and as one file on a bare node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipapp
from collections.abc import Mapping
from pathlib import Path

import pytest

from envcheck import report
from envcheck.__main__ import main
from envcheck.check import Status
from envcheck.checks import every_check
from envcheck.collect import collect
from envcheck.facts import from_json
from envcheck.machine import Machine
from envcheck.report import Report, judged
from envcheck.sections.need import Need
from tests.envcheck.bench import REPOSITORY


def verified(need: Need, environ: Mapping[str, str]) -> Report:
    return judged(collect(Machine(need, environ=environ)), every_check())


def test_a_fit_node_is_told_with_its_facts() -> None:
    found = verified(Need(device="cpu"), {"PATH": "/usr/bin:/bin"})
    document = json.loads(json.dumps(report.as_json(found)))
    assert document["fit"] is found.fit
    assert from_json(document["facts"]) == found.facts


def test_what_the_job_needs_is_judged(tmp_path: Path) -> None:
    need = Need(device="cpu", workdir=str(tmp_path), script="train.py", batch_size=10, procs_per_node=4)
    found = {result.id: result for result in verified(need, {}).results}
    assert found["JOB001"].status is Status.FAIL
    assert found["JOB002"].remedy == "use a batch size of 8"


def test_the_environment_of_the_workers_is_judged_and_not_ours() -> None:
    found = verified(Need(numerics="exact"), {"CUBLAS_WORKSPACE_CONFIG": ":1:1"})
    result = next(one for one in found.results if one.id == "DET001")
    assert (found.exit_code, result.status) == (3, Status.FAIL)


def test_only_the_static_tier_is_judged_unless_more_is_asked_for() -> None:
    assert "LIB020" not in {result.id for result in verified(Need(), {}).results}


OLD = [path for path in Path.home().glob(".pyenv/versions/3.[678].*/bin/python") if path.exists()]


def test_envcheck_is_piped_to_a_bare_python_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle"]) == 0
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", "--static", "--select", "CTR003"],
        input=capsys.readouterr().out, env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "FIT: 1 pass" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.parts[-3])
def test_an_older_python_is_told_what_it_takes(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bundle"])
    for words, text in (["-"], capsys.readouterr().out), (["-m", "envcheck"], ""):
        done = subprocess.run([old, *words], input=text, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.stderr.startswith("envcheck needs Python 3.9 or later"), done.stderr


def test_envcheck_runs_from_one_file_on_a_bare_python(tmp_path: Path) -> None:
    """As it is sent to a node that has nothing: an archive, no site packages."""
    shutil.copytree(REPOSITORY / "envcheck", tmp_path / "source" / "envcheck")
    archive = tmp_path / "envcheck.pyz"
    zipapp.create_archive(tmp_path / "source", archive, main="envcheck.__main__:main")
    done = subprocess.run(
        [sys.executable, "-I", "-S", archive, "can-run", REPOSITORY / "images" / "cu130", "--gpu", "H100",
         "--driver", "580.95.05"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "H100 (sm_90)" in done.stdout
