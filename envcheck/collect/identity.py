"""The `identity` of one machine: commit, changes, lock files and data sets of the job's folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.cluster import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine

LOCKS = (
    "uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "Pipfile.lock", "conda-lock.yml", "requirements.txt",
    "requirements.lock", "pylock.toml", "images/versions.toml",
)  # fmt: skip
WHOLE_BYTES = 64 << 20
"""Data sets up to this size are read whole; of the files of larger ones, the first and the last piece."""
PIECE = 64 << 10
MOST_FILES = 20_000


def collect(machine: Machine) -> Identity:
    folder = Path(machine.need.workdir or ".")
    told = machine.need.workdir is not None  # a home folder under git is nobody's job
    commit = _git(machine, folder, "rev-parse", "HEAD") if told else None
    return Identity(
        machine=f"{machine.read('/proc/sys/kernel/random/boot_id')} {Path('/proc/self/ns/net').readlink()}",
        commit=commit,
        changes=_changes(machine, folder) if commit else "",
        locks={name: _digest_of(folder / name) for name in LOCKS if told and os.access(folder / name, os.R_OK)},
        data={path: _fingerprint_or_reason(folder / path) for path in machine.need.paths},
    )


def _fingerprint_or_reason(path: Path) -> str:
    try:
        return fingerprint(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def fingerprint(path: Path) -> str:
    """Number of files, bytes and a digest of names, sizes and contents (of large sets: first and last pieces)."""
    if not path.exists():
        return "not there"
    files = sorted(_files(path))
    sizes = {file: file.stat().st_size for file in files}
    total, digest = sum(sizes.values()), hashlib.sha256()
    for file, size in sizes.items():
        digest.update(f"{file.relative_to(path) if file != path else ''}\0{size}\0".encode())
        with file.open("rb") as content:
            if total <= WHOLE_BYTES:
                digest.update(content.read())
                continue
            digest.update(content.read(PIECE))
            content.seek(max(0, size - PIECE))
            digest.update(content.read(PIECE))
    return f"{len(files)} files, {total} bytes, {digest.hexdigest()[:12]}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    count = 0
    for folder, _, names in os.walk(path):
        for name in names:
            if (Path(folder) / name).is_file():
                yield Path(folder) / name
                count += 1
                if count == MOST_FILES:
                    return


def _changes(machine: Machine, folder: Path) -> str:
    text = "".join(_git(machine, folder, *words) or "" for words in (("status", "--porcelain"), ("diff", "HEAD")))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def _git(machine: Machine, folder: Path, *words: str) -> str | None:
    try:
        answer = machine.run(["git", "-C", str(folder), *words], 10)
    except Absent:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
