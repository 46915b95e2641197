"""Makes a small project that runs: what all kinds share, and over it what is a kind's own."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.errors import RequestError

STARTERS = Path(__file__).with_name("starters")
RENAMED = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}
"""A file of that name would be taken for one of ours."""


def make(folder: Path, kind: str) -> list[Path]:
    """Write the project and return its files. Raises RequestError where the folder holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            f"{folder} is not an empty folder", hint="name one that does not exist yet; nothing was written"
        )
    texts = {path.name: path.read_text() for part in ("common", kind) for path in sorted((STARTERS / part).iterdir())}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / RENAMED.get(name, name)
            path.write_text(text.replace("{name}", _name(folder)))
            written.append(path)
    except OSError as error:
        raise RequestError(f"{error.filename or folder} cannot be written ({error.strerror})") from error
    return written


def _name(folder: Path) -> str:
    """The folder's name as a job may have it."""
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("._-")
    return word[:64] or "job"
