"""Where a run comes from: command line, versions, the target, commit and what the commit does not hold."""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import platform
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher import __version__, shell
from launcher.target import parse

RECORDED = ("torch", "numpy", "lightning", "pytorch-lightning", "pytorch-ignite")
MOST_PATCH = 5_000_000
"""Characters of a patch that are kept; beyond it the record says that it was cut."""


def gather(name: str, target: str, job: bytes, job_path: Path) -> tuple[dict[str, Any], str]:
    """The record of a new run, and the patch that turns its commit into the code that ran."""
    git, patch = of_git(job_path.parent)
    file = parse(target, job_path.parent).file
    record = {
        "format": 1,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "job_path": str(job_path),
        "job_sha256": hashlib.sha256(job).hexdigest(),
        "target": {"file": str(file), "sha256": digest(file)} if file else None,
        "command": sys.argv,
        "host": socket.gethostname(),
        "user": _user(),
        "platform": platform.platform(),
        "environment": _environment(),
        "versions": versions(),
        "git": git,
    }
    return record, patch


def digest(file: Path) -> str | None:
    """SHA-256 of a file; None where it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def versions() -> dict[str, str]:
    found = {"launcher": __version__, "python": platform.python_version()}
    for distribution in RECORDED:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _environment() -> str:
    """SHA-256 over the Python release and the names of the installed distributions with their versions."""
    folders = [Path(entry) for entry in dict.fromkeys(sys.path) if entry]
    names = sorted({path.name for folder in folders for path in folder.glob("*.dist-info")})
    return hashlib.sha256("\n".join([platform.python_version(), *names]).encode()).hexdigest()


def of_git(folder: Path) -> tuple[Mapping[str, Any] | None, str]:
    """Commit, branch and untracked files, and the patch; None outside a repository or without git."""
    head = shell.read(["git", "rev-parse", "HEAD", "--abbrev-ref", "HEAD", "--show-toplevel"], cwd=folder)
    if head is None:
        return None, ""
    commit, branch, top = head.split("\n")[:3]
    status = shell.read(["git", "status", "--porcelain=v1", "-z"], cwd=folder) or ""
    entries = [entry for entry in status.split("\0") if entry]
    untracked = [entry[3:] for entry in entries if entry.startswith("??")]
    patch = (
        shell.read(["git", "diff", "--binary", "HEAD"], cwd=Path(top)) or "" if len(entries) > len(untracked) else ""
    )
    cut = len(patch) > MOST_PATCH
    git = {"commit": commit, "branch": branch, "dirty": bool(entries), "untracked": untracked[:1000], "patch_cut": cut}
    return git, patch[:MOST_PATCH]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container started under a uid without a passwd entry
        return "unknown"
