"""Files that a command writes where the user wants them."""

from __future__ import annotations

import os
from pathlib import Path

from launcher import store
from launcher.errors import RequestError


def check_writable(file: Path) -> None:
    """Before anything is run. Raises RequestError where the file could not be written."""
    folder = file.parent
    if not folder.is_dir():
        raise RequestError(f"{file}: there is no folder {folder}", hint="mkdir it, or give another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"{file}: the folder {folder} cannot be written", hint="give a file in another folder")


def write(file: Path, text: str, *, what: str, option: str) -> None:
    """Raises RequestError where it cannot be written; `what` says of what the text is, `option` names the file."""
    try:
        store.write_whole(file, text)
    except OSError as error:
        raise RequestError(
            f"{file}: {what} cannot be written ({error.strerror})", hint=f"{option} FILE puts it elsewhere"
        ) from error
