"""Runs that a scheduler has: handed in, followed through the shared run folder, stopped."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher import store
from launcher.attempt import StopRequest
from launcher.backends import Queue
from launcher.errors import EnvironmentUnfit, Interrupted, RequestError
from launcher.plan import Plan
from launcher.store import RunFolder, RunRecord
from launcher.wire import LogTail

Listener = Callable[[Mapping[str, Any]], None]

TICK = 0.3
ASK_EVERY = 2.0
"""Seconds between questions to the scheduler, which has others to answer."""
SILENT = "the scheduler does not answer"
PATIENCE = 60.0
"""Seconds that a job gets to vanish when it is ended without saving."""


def submit(folder: RunFolder, plan: Plan, queue: Queue, files: Mapping[str, str]) -> str:
    """Write the submission's files and hand the run in; returns the job's id. Raises LauncherError."""
    folder.supervisor_log.parent.mkdir(exist_ok=True, mode=0o700)
    for name, text in files.items():
        store.write_whole(folder.path / name, text)
    job = queue.submit(plan, folder)
    folder.append_event({"event": "submitted", "backend": plan.spec.backend, "job": job})
    return job


def refuse_if_queued(folder: RunFolder, queue: Queue) -> None:
    """Raises RequestError while the scheduler still has the run."""
    known = folder.read_submission()
    state = queue.state(known["job"]) if known else None
    if known and state == "UNKNOWN":
        raise EnvironmentUnfit(f"{folder.path.name}: {SILENT}, and may still have job {known['job']}", hint="try again")
    if known and state:
        raise RequestError(
            f"{folder.path.name}: job {known['job']} is still {state}", hint=f"launcher stop {folder.path.name}"
        )


def watch(folder: RunFolder, queue: Queue, job: str, listener: Listener, stop: StopRequest) -> RunRecord:
    """Tell what happens until the scheduler no longer has the job; a stop request ends the job, gently at first.

    Raises Interrupted at the second request where the scheduler hears none.
    """
    story = _Story(folder)
    told, asked, silent, unheard = 0, 0.0, False, False
    while True:
        for event in story.news():
            listener(event)
        if stop.times > told:
            if queue.cancel(job, told == 0):
                told = stop.times
            elif stop.times > 1:
                raise Interrupted(
                    f"{folder.path.name}: {SILENT}; job {job} may go on",
                    hint=f"launcher stop {folder.path.name}, when it answers",
                )
            elif not unheard:
                unheard = True
                listener({"event": "warning", "text": f"{SILENT}; job {job} is asked to end as soon as it does"})
        if time.monotonic() - asked > ASK_EVERY:
            state = queue.state(job)
            if state is None:
                break
            if state == "UNKNOWN" and not silent:
                listener({"event": "warning", "text": f"{SILENT}; job {job} goes on without it"})
            asked, silent = time.monotonic(), state == "UNKNOWN"
        time.sleep(TICK)
    for event in story.news():
        listener(event)
    return conclude(folder, queue, job)


def end(folder: RunFolder, queue: Queue, job: str, timeout: float) -> RunRecord:
    """Stop the job: let it save, and after `timeout` seconds end it.

    Raises EnvironmentUnfit, and writes no verdict, while the scheduler may still have the job.
    """
    for gently, patience in ((True, timeout), (False, PATIENCE)):
        heard, deadline = False, time.monotonic() + patience
        while True:
            heard = heard or queue.cancel(job, gently)
            state = queue.state(job)
            if state is None:
                return conclude(folder, queue, job)
            if time.monotonic() > deadline:
                break
            time.sleep(TICK)
    why = f"{SILENT}; job {job} may still run" if state == "UNKNOWN" else f"job {job} is still {state}"
    raise EnvironmentUnfit(f"{folder.path.name}: {why}", hint=f"launcher stop {folder.path.name}, again")


def conclude(folder: RunFolder, queue: Queue, job: str) -> RunRecord:
    """The record of a job that the scheduler no longer has; one without a verdict gets the scheduler's word."""
    record = store.record(folder.path)
    if folder.result.exists():
        return record
    word = queue.last_word(job)
    stopped = word.startswith("CANCELLED")
    message = f"the scheduler ended job {job} before the run had a verdict: {word}"
    cause = (
        None if stopped else {"kind": "scheduler", "message": message, "log": str(folder.path / "logs" / "slurm.log")}
    )
    outcome = dataclasses.replace(
        record, state="STOPPED" if stopped else "FAILED", root_cause=cause, exit_code=130 if stopped else 1
    )
    store.write_result(folder, outcome)
    return outcome


class _Story:
    """What the run folder tells since the last look: its events, and rank 0's output."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._offset = 0
        self._log: LogTail | None = None

    def news(self) -> Iterator[Mapping[str, Any]]:
        for event in self._events():
            if event.get("event") == "attempt":
                self._log = LogTail(self._folder.rank_log(event["attempt"], 0))
            yield event
        if self._log is not None:
            yield from self._log.read()

    def _events(self) -> Iterator[dict[str, Any]]:
        if not self._folder.events.exists():
            return
        with self._folder.events.open("rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                yield json.loads(line)
