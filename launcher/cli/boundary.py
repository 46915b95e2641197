"""The one place where errors end: expected ones in a sentence with a remedy, all others with their traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from launcher.errors import LauncherError, nearest, printable

WRONG_REQUEST = 2
INTERRUPTED = 130


def guarded(call: Callable[[], Any]) -> int:
    """Call, and return the exit code. What a call returns is its exit code; None is 0."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = _exit_code(call)
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The reader or the terminal is gone; without this, Python complains while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def tell(message: str, hint: str | None = None) -> None:
    """Say on stderr what went wrong and what to type."""
    text = f"launcher: {message}" + (f"\nhint: {hint}" if hint else "")
    with contextlib.suppress(OSError):  # a terminal that was closed; the exit code must still come through
        click.echo("\n".join(printable(line) for line in text.split("\n")), err=True)


def _exit_code(call: Callable[[], Any]) -> int:
    try:
        return call() or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except LauncherError as error:
        tell(error.message, error.hint)
        return error.exit_code
    except click.ClickException as error:
        tell(_sentence(error), _where_help_is(error))
        return WRONG_REQUEST
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        return 0


def _sentence(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        known = [name for parameter in _parameters(error.ctx) for name in parameter.opts]
        return f"there is no option {error.option_name}{nearest(error.option_name, known)}"
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def _parameters(context: click.Context | None) -> list[click.Parameter]:
    return context.command.get_params(context) if context else []


def _where_help_is(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help says what it takes" if context else None
