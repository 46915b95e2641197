"""One worker of a sweep: takes trials, decides and runs them, and takes over those of a worker that died."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from launcher import draft, jobfile, lock, machine
from launcher.attempt import StopRequest
from launcher.errors import RequestError
from launcher.jobfile.overrides import setting
from launcher.sweep import devices
from launcher.sweep.board import Board, Ended, all_over
from launcher.sweep.choice import Judge, choose
from launcher.sweep.folder import Sweep
from launcher.sweep.running import Running

Listener = Callable[[Mapping[str, Any]], None]

TICK = 0.2
BEAT = 5.0
"""Seconds between two signs of life."""
SILENCE = 60.0
"""A worker elsewhere that gave no sign of life for so many seconds is dead."""


class Worker:
    def __init__(self, sweep: Sweep, board: Board, listener: Listener, stop: StopRequest) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._sweep = sweep
        self._board = board
        self._listener = listener
        self._stop = stop
        self._stopped = 0
        self._running: list[Running] = []
        self._beats = 0
        self._beat_due = 0.0
        self._heard: dict[str, tuple[int, float]] = {}
        """Of each worker its newest sign of life, and when that was new here."""

    def work(self) -> bool:
        """Until all trials are over; False where it was asked to stop before they were."""
        path = self._sweep.worker_lock(self.name)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        with lock.hold(path):
            try:
                while self._step():
                    time.sleep(TICK)
            except BaseException:
                self._end_all()
                raise
            finally:
                path.unlink(missing_ok=True)
        return all_over(self._board.trials())

    def _step(self) -> bool:
        """One look at everything; whether there is more to do."""
        self._show_life()
        self._pass_stop_on()
        trials = self._board.trials()
        for running in list(self._running):
            self._attend(running, trials[running.number])
        if self._stop.times:
            return bool(self._running)
        self._take_some(trials)
        return bool(self._running) or not all_over(trials)

    def _attend(self, running: Running, trial: FrozenTrial) -> None:
        if trial.state.is_finished() or trial.user_attrs.get("owner") not in (self.name, None):
            running.ask()  # another worker took this one for dead, and goes on with its trial
            if running.over():
                self._running.remove(running)
            return
        running.look()
        if not running.over() or running.unasked():
            return
        ended = running.ended()
        if not running.over():  # begun again
            return
        self._running.remove(running)
        if ended is None:
            self._board.own(trial, None)
        else:
            self._tell_end(trial, ended, running.folder.path.name)

    def _tell_end(self, trial: FrozenTrial, ended: Ended, run_id: str) -> None:
        self._board.finish(trial, ended)
        step = max(ended.values, default=None)
        told = {"value": ended.value, "step": step, "reason": ended.reason, "run_id": run_id}
        self._listener({"event": "trial", "trial": trial.number, "state": ended.state, **told})

    def _take_some(self, trials: Sequence[FrozenTrial]) -> None:
        """Go on with what dead workers left, then take new ones, in order, up to as many as run here at a time."""
        mine = {running.number for running in self._running}
        for trial in trials:
            if len(self._running) >= self._sweep.spec.parallel:
                return
            if trial.state == TrialState.RUNNING and trial.number not in mine:
                if self._is_left(trial):
                    self._board.own(trial, self.name)
                    self._begin(trial, trials)
            elif trial.state == TrialState.WAITING:
                known = self._sweep.spec.known_before(trial.number)
                if not all_over(trials[:known]):
                    return
                if self._board.claim(trial, self.name):
                    self._begin(trial, trials)

    def _begin(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
        sweep, earlier = self._sweep, trials[: self._sweep.spec.known_before(trial.number)]
        settings = trial.user_attrs.get("settings")
        run_id = sweep.run_id(trial.number)
        if settings is None:
            choice = choose(sweep.spec, trial.number, earlier)
            self._board.decide(trial, choice, run_id)
            settings = dict(choice.values)
        overrides = [*sweep.overrides, *(setting(key, value) for key, value in settings.items())]
        try:
            job = jobfile.parse(sweep.job, source=str(sweep.job_path), overrides=overrides)
            share = devices.share(job, machine.inspect(), sweep.spec.parallel)
            overrides += devices.settings(job, share, sweep.spec.parallel)
            about = {"sweep": {"id": sweep.id, "trial": trial.number, "settings": settings}}
            folder = draft.prepare(
                sweep.job, sweep.job_path, overrides, run_id=run_id, runs_dir=sweep.runs_dir, about=about
            )
        except RequestError as error:  # these settings do not fit together; others may
            self._tell_end(trial, Ended(state="failed", reason=error.message), run_id)
            return
        self._listener(
            {"event": "trial", "trial": trial.number, "state": "running", "settings": settings, "run_id": run_id}
        )
        self._running.append(Running(trial, folder, share, Judge(sweep.spec, earlier), sweep))

    def _is_left(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on a trial that was begun."""
        owner = trial.user_attrs.get("owner", "")
        if (works := self._sweep.works(owner)) is not None:
            return not works
        count = self._board.beats().get(owner, -1)
        seen, since = self._heard.setdefault(owner or f"nobody has {trial.number}", (count, time.monotonic()))
        if seen != count:
            self._heard[owner] = (count, time.monotonic())
            return False
        return time.monotonic() - since > (SILENCE if owner else BEAT)

    def _show_life(self) -> None:
        if time.monotonic() >= self._beat_due:
            self._beats += 1
            self._board.beat(self.name, self._beats)
            self._beat_due = time.monotonic() + BEAT

    def _pass_stop_on(self) -> None:
        if self._stop.times == self._stopped:
            return
        self._stopped = self._stop.times
        for running in self._running:
            running.stopping = True
            if self._stopped > 1:
                running.hurry()

    def _end_all(self) -> None:
        """Something is wrong with the whole sweep: its runs save and end, to go on with it later."""
        for running in self._running:
            running.stopping = True
        while any(not running.over() for running in self._running):
            for running in self._running:
                running.ask()
            time.sleep(TICK)
        with contextlib.suppress(Exception):  # the storage itself may be what failed
            for trial in self._board.trials():
                if trial.state == TrialState.RUNNING and trial.user_attrs.get("owner") == self.name:
                    self._board.own(trial, None)
