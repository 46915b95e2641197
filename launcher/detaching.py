"""A launcher of its own session goes on with a run or a sweep, whatever becomes of the one that started it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher import processes, shell, waiting
from launcher.errors import EnvironmentUnfit

PATIENCE = 30.0
"""Seconds that it gets to take over."""


def begin(words: Sequence[str], *, log: Path, begun: Callable[[int], object]) -> None:
    """Start `launcher WORDS` in the background, and return once `begun` says that the process of this number took over,
    or that nothing is left to take over. What it says goes to `log`.

    Raises EnvironmentUnfit where it ends, with whatever code, before that.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    argv = [sys.executable, "-P", "-m", "launcher", *words]
    with log.open("ab") as said:
        process = shell.start(argv, env={**os.environ, processes.MARK: ""}, stdout=said, stderr=said)
    if not waiting.until(lambda: begun(process.pid) or process.poll() is not None, PATIENCE):
        process.kill()
        raise EnvironmentUnfit(f"launcher {shlex.join(words)} did not start in the background", hint=f"see {log}")
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is not None and not begun(process.pid):
        raise EnvironmentUnfit(
            f"launcher {shlex.join(words)} ended with exit code {process.returncode} before it took over",
            hint=f"see {log}",
        )
