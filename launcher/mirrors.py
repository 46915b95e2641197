"""Starts a run's trackers beside it, says once where one fails, and waits for none of them for long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from launcher import processes, shell, trackers
from launcher.plan import Plan
from launcher.store import RunFolder

Listener = Callable[[Mapping[str, Any]], None]

LAST_WORDS = 15.0
"""Seconds that the trackers get, together, to mirror what is left when the run has ended."""


class Mirrors:
    """The trackers of a run that is being watched; each ends when its standard input does."""

    def __init__(self, folder: RunFolder, plan: Plan, tell: Listener) -> None:
        self._folder = folder
        self._names = trackers.wanted(plan.spec)
        # Not the run's, by which what is left of an attempt is ended, and not none: that may be the run's, too.
        self._mark = f"{plan.run_id}/trackers"
        self._tell = tell
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def tell(self, event: Mapping[str, Any]) -> None:
        """Pass an event on, and look whether a tracker has failed meanwhile."""
        self._tell(event)
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                self._ended(name, process)

    def __enter__(self) -> Mirrors:
        for name in self._names:
            log = self._log(name)
            log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            argv = [sys.executable, "-P", "-m", "launcher.trackers", str(self._folder.path), name]
            with log.open("ab") as output:
                environ = {**os.environ, processes.MARK: self._mark}
                self._running[name] = shell.start(argv, env=environ, stdout=output, stderr=output)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            if process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + LAST_WORDS
        for name, process in list(self._running.items()):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._ended(name, process)
        if self._names:
            processes.end_marked(self._mark)

    def _ended(self, name: str, process: subprocess.Popen[bytes]) -> None:
        del self._running[name]
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode == 0:
            return
        why = "it hung and was ended" if process.returncode < 0 else self._last_line(name)
        text = f"tracker {name} failed, and the run goes on without it: {why} ({self._log(name)})"
        self._tell({"event": "warning", "text": text})

    def _log(self, name: str) -> Any:
        return self._folder.path / "logs" / f"tracker-{name}.log"

    def _last_line(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
