"""The seam between envcheck and the machine: a root for /proc and /sys, an environment, a command runner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envcheck.sections.need import Need


class Absent(Exception):
    """A source cannot be read; the message says why, and becomes the section's reason in the facts."""


@dataclass(frozen=True)
class Completed:
    """What a command gave back."""

    returncode: int
    stdout: str
    stderr: str


Runner = Callable[["Sequence[str]", float], Completed]
"""Runs a command within so many seconds, or raises Absent."""


def run_command(argv: Sequence[str], seconds: float) -> Completed:
    """Run a command; at the deadline its whole process group is killed and Absent raised."""
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise Absent(f"{argv[0]}: {error.strerror or error}") from None
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise Absent(f"{argv[0]} gave no answer within {seconds:g} s and was killed") from None
    return Completed(process.returncode, stdout, stderr)


@dataclass(frozen=True)
class Machine:
    """Everything a collector may look at. The default is this very machine."""

    need: Need
    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    run: Runner = run_command
    search_path: Sequence[str] = field(default_factory=lambda: tuple(sys.path))
    """Where this machine's Python looks for packages."""
    own: str | None = None
    """`NAME=value` in the environment of the asker's own processes, which nobody needs to be told of."""

    def path(self, absolute: str) -> Path:
        """Where `/proc/...` lies under this machine's root."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        """The text of a file, stripped. Raises Absent with the path and the reason."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise Absent(f"{absolute}: {error.strerror or error}") from None

    def run_module(self, module: str, seconds: float) -> Completed:
        """Run one of envcheck's own programs in a child process, wherever envcheck was imported from."""
        return self.run(module_argv(module), seconds)

    def read_or_none(self, absolute: str) -> str | None:
        try:
            return self.read(absolute)
        except Absent:
            return None

    def names(self, absolute: str) -> list[str]:
        """The names in a folder, sorted; none where the folder cannot be read."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(absolute)))
        except OSError:
            return []


def module_argv(module: str) -> list[str]:
    """The command that runs a module of envcheck in a child process."""
    home = str(Path(__file__).absolute().parent.parent)
    program = f"import runpy, sys; sys.path.append({home!r}); runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-c", program]


def _kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process in uninterruptible sleep dies when it wakes
        process.wait(timeout=1)
