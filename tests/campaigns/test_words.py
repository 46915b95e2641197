"""Whatever text stands in a job file: it is refused, or it stays data that no program takes for an option or code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher import backends, launch, plan
from launcher.cli.wording import sentences
from launcher.errors import LauncherError
from launcher.plan import Machine
from launcher.spec import JobSpec, SshOptions, TaskSpec, Training

NASTY = (
    *("'", '"', "\n", "\r", "\0", "$(touch x)", "`touch x`", "; touch x", "-oProxyCommand=touch x", "--help"),
    *("../../etc", "/etc/passwd", "\x1b[2J", "\u202e", "\ud7ff", "%h", "${HOME}", "~", "{a,b}", "#SBATCH -x"),
)
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), min_size=1, max_size=3).map("".join)
OFTEN = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def job(**changes: Any) -> dict[str, Any]:
    base = {"name": "words", "task": {"target": "t.py:build"}, "training": {"steps": 1}}
    return {**base, **changes}


FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "name": lambda text: job(name=text),
    "target": lambda text: job(task={"target": text}),
    "argument": lambda text: job(task={"target": "t.py:build", "args": {"a": text, text: 1}}),
    "variable": lambda text: job(env={"A": text}),
    "variable's name": lambda text: job(env={text: "a"}),
    "metric": lambda text: job(checkpoint={"best": {"metric": text, "mode": "min"}}),
    "resume": lambda text: job(checkpoint={"resume": text}),
    "backend": lambda text: job(backend=text),
}


@pytest.mark.parametrize("field", FIELDS)
@OFTEN
@given(text=TEXT)
def test_text_of_a_job_file_is_refused_or_stays_data(tmp_path: Path, field: str, text: str) -> None:
    (tmp_path / "t.py").write_text("def build(): ...\n")
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(FIELDS[field](text)))
    with contextlib.suppress(LauncherError):
        described = launch.describe(path, [], runs_dir=tmp_path / "runs")
        run_dir = Path(described["plan"]["run_dir"])
        assert run_dir.parent == (tmp_path / "runs").resolve()
        for command in described["commands"]:
            assert command["command"].endswith("-P -m launcher.node")
            json.dumps(command["stdin"])


@pytest.mark.parametrize("field", ["user", "python", "interface", "config"])
@OFTEN
@given(text=TEXT.filter(lambda text: text and "\0" not in text))
def test_text_of_the_ssh_section_stays_one_word(field: str, text: str) -> None:
    plain, given_text = _ssh_words(field, "plain"), _ssh_words(field, text)
    assert given_text == [text if word == "plain" else word for word in plain]


def _ssh_words(field: str, text: str) -> list[str]:
    """Every word that ssh and the remote shell see, but for the name of the socket that connections share."""
    spec = JobSpec(
        name="words",
        task=TaskSpec(target="t.py:build"),
        training=Training(steps=1),
        backend="ssh",
        ssh=dataclasses.replace(SshOptions(hosts=("a",), python="python3"), **{field: text}),
    )
    decided = plan.make(spec, run_id="r", run_dir=Path("/r"), job_dir=Path("/j"), machine=Machine(cores=1))
    (command,) = backends.named("ssh").render(decided).commands
    *ours, remote = command.argv
    return [word for word in ours if not word.startswith("ControlPath=")] + shlex.split(remote)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "a b", "a\nb", "$(touch x)", "a;b", "", "'", "../a"])
def test_a_host_that_is_no_name_is_refused(host: str, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("def build(): ...\n")
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(backend="ssh", ssh={"hosts": [host], "python": "python3"})))
    with pytest.raises(LauncherError, match=r"ssh\.hosts"):
        launch.describe(path, [], runs_dir=tmp_path)


@OFTEN
@given(text=TEXT)
def test_what_a_rank_says_never_moves_the_cursor_or_forges_a_line(text: str) -> None:
    for event in ({"event": "warning", "text": text}, {"event": "log", "text": text}):
        assert all(line.isprintable() for line in sentences(event))
    (line,) = sentences({"event": "validated", "step": 1, "metrics": {text: 1.0}})
    assert line.isprintable()
