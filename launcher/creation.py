"""A run's folder comes into being, whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher import durable
from launcher.errors import EnvironmentUnfit
from launcher.plan import Plan
from launcher.store import RunFolder

UNBORN = ".new"
"""Ends the hidden name under which a run's folder is made, until it has its own."""


def create(
    runs_dir: Path,
    plan: Plan,
    *,
    job: bytes,
    overrides: list[str],
    record: Mapping[str, Any],
    patch: str,
    fill: Callable[[RunFolder], None] | None = None,
) -> RunFolder:
    """Make the folder of a new run, whole or not at all; `plan.run_dir` names it and `fill` puts more into it."""
    folder = RunFolder(Path(plan.run_dir))
    unborn = RunFolder(runs_dir / f".{folder.path.name}{UNBORN}")
    made = unborn.path
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        _clear_unborn(runs_dir)
        unborn.path.mkdir(mode=0o700)
        with _held(unborn.path):
            texts = {unborn.overrides: json.dumps(overrides), unborn.record: json.dumps(record, indent=1)}
            texts |= {unborn.plan: json.dumps(plan.to_json(), indent=1)} | ({unborn.patch: patch} if patch else {})
            for path, content in {unborn.job: job, **{path: text.encode() for path, text in texts.items()}}.items():
                durable.write(path, [memoryview(content)])
            if fill is not None:
                fill(unborn)
            durable.sync_folder(unborn.path)
            made = unborn.path.rename(folder.path)
            durable.sync_folder(runs_dir)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise EnvironmentUnfit(
            f"{error.filename or runs_dir}: the run folder cannot be written ({error.strerror})",
            hint="--runs-dir DIR or LAUNCHER_RUNS_DIR=DIR puts runs elsewhere",
        ) from error
    return folder


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: nobody takes it for what a dead launcher left."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _clear_unborn(runs_dir: Path) -> None:
    """Remove run folders that a launcher was killed while making; those being made now are held."""
    for path in runs_dir.glob(f".*{UNBORN}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 1.0:  # it is held from its first moment on, but for an instant
                with _held(path):
                    shutil.rmtree(path)
