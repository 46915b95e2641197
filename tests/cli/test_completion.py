import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli import COMMANDS

from .conftest import RECORD, Cli, finished_run
from .test_main import HEAVY, modules_after

RUN = RECORD.run_id

ASKS = {
    "bash": """eval "$(launcher completion bash)"
        COMP_WORDS=(launcher {words}) COMP_CWORD={last} COMP_LINE="launcher {words}"
        _launcher_completion launcher
        printf '%s\\n' "${{COMPREPLY[@]}}" """,
    "zsh": """compdef() {{ : }}
        _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
        compadd() {{ print -l -- $completions }}
        eval "$(launcher completion zsh)"
        words=(launcher {words}) CURRENT=$(({last} + 1))
        _launcher_completion""",
    "fish": """launcher completion fish | source; complete -C 'launcher {words}'""",
}
"""How each shell is asked for the completions of a line, without a terminal."""


@pytest.fixture
def on_path(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command `launcher`, as an installation puts it there, and a run."""
    finished_run(runs)
    program = tmp_path / "bin" / "launcher"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m launcher "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def asked(shell: str, words: str) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}: apt-get install {shell}")
    text = ASKS[shell].format(words=words, last=len(words.split(" ")))
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


SWEEP = "mlp-sweep-20261122T051900-ab12"


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("shell", ASKS)
def test_a_shell_completes_commands_and_run_ids(shell: str) -> None:
    assert asked(shell, "ver") == ["verify-resume"]
    assert asked(shell, "show ml") == [RUN]


def completions(launcher: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    def complete(words: str) -> list[str]:
        monkeypatch.setenv("_LAUNCHER_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"launcher {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
        said = launcher()
        assert (said.code, said.err) == (0, "")
        return [line.partition(",")[2] for line in said.out.splitlines()]

    return complete


def test_every_command_is_completed(launcher: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions(launcher, monkeypatch)("") == list(COMMANDS)


def test_options_are_completed(launcher: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions(launcher, monkeypatch)("run --no") == ["--nodes"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("images b", ["build"]),
        ("images build --tar", ["--target"]),
        ("images build --target d", ["devel"]),
        ("envcheck can", ["can-run"]),
        ("envcheck --sel", ["--select"]),
        ("envcheck can-run --dr", ["--driver"]),
        ("sweep st", ["start", "status", "stop"]),
    ],
)
def test_subcommands_and_their_options_are_completed(
    words: str, found: list[str], launcher: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completions(launcher, monkeypatch)(words) == found


def test_every_place_that_takes_a_run_completes_one(launcher: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run(runs)
    complete = completions(launcher, monkeypatch)
    for command in ("show", "logs", "stop", "resume", "reproduce", "report", f"compare {RUN}"):
        assert complete(f"{command} ") == ["latest", RUN], command


def test_sweeps_are_completed_where_one_is_taken(launcher: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_run(runs)
    (runs / "sweeps" / SWEEP).mkdir(parents=True)
    complete = completions(launcher, monkeypatch)
    for command in ("resume", "stop", "status", "best", "plot"):
        assert complete(f"sweep {command} ") == ["latest", SWEEP], command
    assert complete("report mlp-") == [RUN, SWEEP]


def test_the_runs_are_those_of_the_folder_that_the_line_names(
    launcher: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_run(tmp_path / "other")
    assert completions(launcher, monkeypatch)(f"show --runs-dir {tmp_path}/other ml") == [RUN]


def test_a_line_that_makes_no_sense_has_no_completions(launcher: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions(launcher, monkeypatch)("nonsense x") == []


def test_completing_a_command_imports_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_LAUNCHER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "launcher r")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert not modules_after() & (set(HEAVY) - {"launcher.store"})
