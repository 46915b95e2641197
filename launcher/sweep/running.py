"""A trial under way on this machine: its run's process, the values it reports, and how it ended."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from launcher import processes, readback, shell, store
from launcher.errors import EnvironmentUnfit, RequestError, nearest
from launcher.store import RunFolder, RunRecord
from launcher.sweep import trial as program
from launcher.sweep.board import Ended
from launcher.sweep.choice import Judge
from launcher.sweep.devices import Share
from launcher.sweep.folder import Sweep
from launcher.trackers.tail import Tail

MOST_DEATHS = 5
"""So many times the launcher of a trial's run may be killed before the trial counts as failed."""
GRACE = 2.0
"""Seconds in which a stop of this sweep follows that of its runs, where somebody stops them all at once."""
PATIENCE = 60.0
"""Seconds a run gets to save and end after each time it was asked; the third time it is killed."""


class Running:
    def __init__(self, trial: FrozenTrial, folder: RunFolder, share: Share | None, judge: Judge, sweep: Sweep):
        self.trial = trial
        self.folder = folder
        self.pruned_at: int | None = None
        self.stopping = False
        """Whether the sweep ends, and with it this run; it goes on when the sweep does."""
        self._share = share
        self._judge = judge
        self._sweep = sweep
        self._spec = sweep.spec
        self._events = Tail(folder.events)
        self._lines = Tail(folder.metrics)
        self._values: dict[int, float] = {}
        self._asked: list[float] = []
        self._deaths = 0
        self._over_since: float | None = None
        self._start()

    @property
    def number(self) -> int:
        return self.trial.number

    def over(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def unasked(self) -> bool:
        """Whether it was stopped just now, and not by this sweep, which may itself be about to be."""
        if not self.over() or self.stopping or store.record(self.folder.path).state != "STOPPED":
            return False
        self._over_since = self._over_since or time.monotonic()
        return time.monotonic() - self._over_since < GRACE

    def look(self) -> None:
        """Take in what the run has told since the last look; ask it to end where the pruner says so."""
        events = list(self._events.read())  # first: then the lines of what they tell, and of any lost one, are there
        self._take_recorded(self._lines.read())
        for event in events:
            if event.get("event") == "validated" and isinstance(event.get("step"), int):
                self._take(event["step"], event.get("metrics"))
        if self.pruned_at is not None or self.stopping:
            self.ask()

    def ask(self) -> None:
        """Let the run save and end; one that was asked long ago is asked again, and in the end killed."""
        if self.over() or (self._asked and time.monotonic() - self._asked[-1] < PATIENCE):
            return
        self._process.send_signal(signal.SIGTERM if len(self._asked) < 2 else signal.SIGKILL)
        self._process.send_signal(signal.SIGCONT)
        self._asked.append(time.monotonic())

    def hurry(self) -> None:
        """Do not wait for the run to save."""
        self._asked = [-PATIENCE]
        self.ask()

    def ended(self) -> Ended | None:
        """How the trial ended; None where its run goes on, now or with the sweep. Raises what ends the whole sweep."""
        self.look()
        record = store.record(self.folder.path)
        if self.pruned_at is None and self._killed() and not self.stopping:
            self._deaths += 1
            if self._deaths <= MOST_DEATHS:
                self._start()
                return None
        if self.pruned_at is None and (record.state == "SUCCEEDED" or not self.stopping):
            self._take_recorded(readback.json_lines(self.folder.metrics))
        if self.pruned_at is not None:
            return self._pruned()
        if self.stopping and record.state != "SUCCEEDED":
            return None
        return self._final(record)

    def _start(self) -> None:
        log = self.folder.supervisor_log
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        words = program.words(self.folder.path, os.getpid(), self._share)
        with log.open("ab") as out:
            environ = {**os.environ, processes.MARK: ""}
            self._process = shell.start(words, env=environ, stdout=out, stderr=out)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _killed(self) -> bool:
        """Whether its launcher was, before it could say what the run came to."""
        return self._process.returncode < 0 and not self.folder.result.exists()

    def _take(self, step: int, metrics: object) -> None:
        if not isinstance(metrics, dict) or self.pruned_at is not None or step <= max(self._values, default=-1):
            return
        if self._spec.metric not in metrics:
            if self._spec.pruner.kind != "none":
                self._refuse(metrics)
            return  # the run's record may end with it
        value = metrics[self._spec.metric]
        self._values[step] = math.nan if value is None else float(value)
        if self._judge.ends(step, self._values[step]):
            self.pruned_at = step

    def _take_recorded(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Events may be lost, the metrics' lines may not; but those of a run on other machines come at its end."""
        for line in lines:
            step: Any = line.get("step")
            if isinstance(step, int) and "validation" in line:
                self._take(step, line["validation"])

    def _pruned(self) -> Ended:
        step = self.pruned_at
        assert step is not None  # noqa: S101 (asked only then)
        value = self._values[step] if math.isfinite(self._values[step]) else None
        self.folder.append_event({"event": "pruned", "step": step, "metric": self._spec.metric, "value": value})
        return Ended(state="pruned", value=value, values=self._values, attrs=self._judge.attrs)

    def _final(self, record: RunRecord) -> Ended:
        if record.state != "SUCCEEDED":
            return self._failed(record)
        value = list(self._values.values())[-1] if self._values else record.metrics.get(self._spec.metric)
        if not self._values and self._spec.metric not in record.metrics:
            self._refuse(record.metrics)
        if value is None or not math.isfinite(value):
            return Ended(state="failed", values=self._values, reason=f"{self._spec.metric} is not finite")
        return Ended(state="complete", value=value, values=self._values, attrs=self._judge.attrs)

    def _failed(self, record: RunRecord) -> Ended:
        message = str((record.root_cause or {}).get("message") or _last_line(self.folder.supervisor_log))
        if 3 in (record.exit_code, self._process.returncode):
            show = f"launcher show {record.run_id}{store.where(self._sweep.runs_dir)}"
            raise EnvironmentUnfit(
                f"trial {self.number}: {message}", hint=f"{show} says more; then {self._sweep.resume_command}"
            )
        return Ended(state="failed", values=self._values, reason=next(_reasons(record, message)))

    def _refuse(self, metrics: Mapping[str, Any]) -> None:
        names = ", ".join(metrics) or "none"
        raise RequestError(
            f"metric: {self.folder.path.name} reports no {self._spec.metric}{nearest(self._spec.metric, metrics)}",
            hint=f"it reports {names}; start a new sweep with one of these",
        )


def _reasons(record: RunRecord, message: str) -> Iterator[str]:
    if record.state == "STOPPED":
        yield "stopped by somebody"
    yield message.splitlines()[0] if message else record.state


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else ""
