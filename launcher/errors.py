"""The errors a user can meet, each with its remedy and the exit code the command ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar


class LauncherError(Exception):
    """An expected failure: a sentence that says what and where, and a hint that says what to type."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "user"
    """What sort of cause it is, in a run's record."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class JobFailed(LauncherError):
    """The job ran and failed."""

    exit_code = 1


class NotFinite(JobFailed):
    """A loss or a weight stopped being a number."""

    kind = "numerics"

    def __init__(self, message: str, hint: str | None = None, *, rank: int | None = None) -> None:
        super().__init__(message, hint)
        self.rank = rank


class RequestError(LauncherError):
    """The request itself is wrong: a job file, an option, a run that does not exist."""

    exit_code = 2
    kind = "request"


class EnvironmentUnfit(LauncherError):
    """The machine cannot run what was asked for; the job was not started."""

    exit_code = 3
    kind = "environment"


class Interrupted(LauncherError):
    """Somebody stopped the run: Ctrl-C, SIGTERM or `launcher stop`."""

    exit_code = 130


def printable(text: str) -> str:
    """Text with every control or invisible character spelled out, so that nothing a file or a rank says moves the
    cursor, hides a line or forges another."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """`1 process`, `2 processes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith(('s', 'ch')) else 's'}"


def nearest(word: str, known: Iterable[str], compared: Callable[[str], str] = str.lower) -> str:
    """` (did you mean …?)`, or nothing where no known word is near; `compared`: what of a word has to be near."""
    import difflib  # only an error needs it, and starting up must stay cheap

    folded = {compared(name): name for name in known}
    close = difflib.get_close_matches(compared(word[:200]), folded, n=1)
    return f" (did you mean {folded[close[0]]}?)" if close else ""
