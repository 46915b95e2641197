"""What a file or folder holds, as one digest that two machines can compare. Bounded, so that it takes a moment: names,
sizes, and how the first files begin. Standard library only: the program that looks at nodes takes it along."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_FOLDERS = 2_000
MOST_FILES = 20_000
MOST_READ = 500
"""Of so many files the beginning counts, of the others name and size."""
BEGINNING = 64 << 10
LEFT_OUT = ("__pycache__", "runs", "node_modules")


def take(path: str, *, code: bool) -> dict[str, Any] | None:
    """How many files there are and their digest; of `code` only Python's files, whole. None where there is nothing."""
    root = Path(path)
    if not root.exists():
        return None
    digest, files = hashlib.sha256(), 0
    for name in itertools.islice(_names(root, code=code), MOST_FILES):
        file = root / name if name else root
        try:
            size = file.stat().st_size
            digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            if code or files < MOST_READ:
                with file.open("rb") as content:
                    digest.update(content.read(-1 if code else BEGINNING))
        except OSError:
            digest.update(f"{name}\0unreadable".encode(errors="surrogateescape"))
        files += 1
    return {"files": files, "digest": digest.hexdigest()}


def _names(root: Path, *, code: bool) -> Iterator[str]:
    """Relative names of files in an order that is everywhere the same; the empty one for a file itself."""
    if root.is_file():
        yield ""
        return
    for folder, folders, files in itertools.islice(os.walk(root), MOST_FOLDERS):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("."))
        for name in sorted(files):
            if not code or name.endswith(".py"):
                yield str((Path(folder) / name).relative_to(root))
