import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from launcher import cli
from launcher.cli import COMMANDS, boundary
from launcher.errors import EnvironmentUnfit, JobFailed, RequestError

from .conftest import Cli

HEAVY = ("torch", "rich", "pydantic", "yaml", "launcher.jobfile", "launcher.launch", "launcher.store", "envcheck")


def modules_after(*arguments: str) -> set[str]:
    """What is imported once the command line has run, in a fresh interpreter."""
    program = (
        "import sys\nfrom launcher.cli import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


@pytest.mark.parametrize(
    "command", [["runs", "--runs-dir", "none"], ["show", "x"], ["logs", "x"], ["validate", "jobs/mlp.yaml"]]
)
def test_looking_at_runs_or_at_a_good_job_imports_neither_torch_nor_pydantic(command: list[str]) -> None:
    assert not modules_after(*command) & {"torch", "pydantic", "rich"}


def test_running_here_imports_no_other_backend() -> None:
    there = modules_after("run", "jobs/mlp.yaml", "--dry-run")
    assert "launcher.backends.local" in there
    assert not there & {"torch", "pydantic", "launcher.backends.docker", "launcher.backends.ssh", "launcher.images"}


def test_nothing_typed_prints_the_help(launcher: Cli) -> None:
    assert launcher().out.startswith("Usage: launcher ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_row_of_the_table_is_a_command(name: str, launcher: Cli) -> None:
    said = launcher(name, "--help")
    assert said.code == 0 and "usage: " in said.out.lower()
    assert re.search(r"^ *Example: ", said.out, re.MULTILINE)


def test_a_mistyped_command_is_answered_with_the_nearest(launcher: Cli) -> None:
    said = launcher("rnu")
    assert (said.code, said.out) == (2, "")
    assert (
        said.err
        == "launcher: there is no command 'rnu' (did you mean run?)\nhint: launcher --help says what it takes\n"
    )


def test_a_mistyped_option_is_answered_with_the_nearest(launcher: Cli) -> None:
    said = launcher("run", "--nodse", "2")
    assert said.code == 2 and "there is no option --nodse (did you mean --nodes?)" in said.err


def test_a_missing_argument_is_a_wrong_request(launcher: Cli) -> None:
    said = launcher("run")
    assert said.code == 2 and said.err.startswith("launcher: missing argument 'SPEC'\n")


def guarded(error: BaseException) -> int:
    def fail() -> None:
        raise error

    return boundary.guarded(fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailed("x"), 1),
        (RequestError("x"), 2),
        (click.UsageError("x"), 2),
        (EnvironmentUnfit("x"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_each_family_of_errors_ends_with_its_code(error: BaseException, code: int) -> None:
    assert guarded(error) == code


def test_an_expected_error_is_a_sentence_and_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    guarded(RequestError("a: wrong", hint="type b"))
    assert capfd.readouterr().err == "launcher: a: wrong\nhint: type b\n"


def test_an_error_cannot_move_the_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    guarded(RequestError("one\n  two \x1b[2J\r\u202e"))
    assert capfd.readouterr().err == "launcher: one\n  two \\x1b[2J\\r\\u202e\n"


def test_an_unexpected_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(ZeroDivisionError())


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "launcher", "--help"]
    with os.fdopen(writer, "wb") as nobody_reads:
        done = subprocess.run(command, stdout=nobody_reads, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_unicode_gets_escapes() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    program = "from launcher.cli import boundary; boundary.guarded(lambda: print('a · b'))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"a \\xb7 b\n", b"")


def test_envcheck_gets_its_arguments_untouched(launcher: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.cli.envcheck.main", lambda words: print(words) or 3)
    said = launcher("envcheck", "--json", "--help", "x", "-y")
    assert (said.code, said.out) == (3, "['--json', '--help', 'x', '-y']\n")
