"""Hosts on the command line: what ssh must never see, and hosts that cannot be reached."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from envcheck import bundle
from envcheck.__main__ import main
from envcheck.cluster import ANSWER, COMMAND, SSH, TELL_TIME
from tests.envcheck.bench import REPOSITORY


def _runs(python: str) -> bool:
    """A command of that name may be a version manager's, with no such Python behind it."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


CANDIDATES = [*map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")), shutil.which("python3.9")]
OLDEST = next((python for python in CANDIDATES if python and _runs(python)), None)
STUB = """#!/bin/sh
echo "$@" >> {calls}
echo "connect to host: No route to host" >&2
exit 255
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh on the PATH that notes its arguments and cannot connect."""
    stub = tmp_path / "ssh"
    stub.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho "connect to host: No route to host" >&2\nexit 255\n'
    )
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "calls"


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "-F/dev/null", "a b", "a;b", "$(a)", "", "a\n-b"])
def test_a_host_that_ssh_would_misread_is_refused(host: str, ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--host={host}"]) == 2
    assert "a host is a name or an address" in capsys.readouterr().err
    assert not ssh.exists()


def test_ssh_gets_one_fixed_command_and_asks_nothing(ssh: Path) -> None:
    main(["--host", "a"])
    assert ssh.read_text().splitlines()[0] == " ".join([*SSH[1:], "--", "a", COMMAND])
    assert "BatchMode=yes" in SSH


def test_hosts_that_cannot_be_reached_are_a_fault_of_theirs(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "a", "--host", "b", "--json"]) == 3
    results = json.loads(capsys.readouterr().out)["cluster"]["results"]
    told = {one["id"]: one for one in results}
    assert told["CLU001"]["saw"] == "a: connect to host: No route to host; b: connect to host: No route to host"
    assert told["CLU002"]["status"] == "unknown"


def test_a_silent_host_is_a_fault_whatever_was_selected(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "a", "--select", "driver"]) == 3
    shown = capsys.readouterr()
    assert "FAIL  CLU001" in shown.out
    assert "1 host\n" in shown.out
    assert "not judged: DRV001" in shown.err


def test_hosts_are_told_as_junit(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "a", "--host", "b", "--junit"]) == 3
    (suite,) = ElementTree.fromstring(capsys.readouterr().out)  # noqa: S314 - our own output
    assert (suite.get("name"), suite.find("testcase[@name='CLU001']/failure") is not None) == ("envcheck 2 hosts", True)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envcheck").rglob("*.py")), ids=lambda path: path.name)
def test_every_file_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_the_program_for_hosts_is_python_3_9() -> None:
    ast.parse(bundle.program(ANSWER.format(request="{}"), TELL_TIME), feature_version=(3, 9))


@pytest.mark.skipif(OLDEST is None, reason="there is no Python 3.9 here")
def test_the_oldest_python_judges_this_machine() -> None:
    done = subprocess.run(
        [str(OLDEST), "-W", "error", "-m", "envcheck", "--static", "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    results = json.loads(done.stdout)["results"]
    assert [one for one in results if "the check itself failed" in one["saw"] or "collector failed" in one["saw"]] == []
