"""The tutorial, followed to the letter in an empty folder."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.conftest import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
SHORTER = "sed -i 's/epochs: 20/epochs: 2/' job.yaml"
"""Said after the project is made: the commands are the tutorial's, the training is not as long."""


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page: the fenced ones that name no language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [text for language, text in fenced if not language]


def followed() -> str:
    """All of its lines as one script that ends at the first that fails; the mistake must be one."""
    lines = "set -e\n" + "".join(blocks(TUTORIAL))
    lines = lines.replace("cd moons\n", f"cd moons\n{SHORTER}\n")
    lines, mistakes = re.subn(r"(.*epohcs.*)", r"{ \1; } && exit 9 || test $? = 2", lines)
    assert mistakes == 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        return lines.replace("8000", str(free.getsockname()[1]))


@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: apt-get install curl")
def test_every_line_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "launcher"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m launcher "$@"\n')
    program.chmod(0o755)
    program.with_name("activate").write_text(f"PATH={program.parent}:$PATH\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    environ.pop("LAUNCHER_RUNS_DIR", None)
    command = ["bash", "-c", followed()]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "did you mean epochs?" in done.stderr
    *_, compared, planned = done.stdout.split("more are the same")
    assert compared.count("weights_sha256") == 1, "the last comparison begins after the digest of the run before it"
    assert '{"outputs":' in planned and (tmp_path / "moons" / "wide.pt2").is_file()
