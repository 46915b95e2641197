"""The training loop: steps, and what is due after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.worker.duties import Duties
from launcher.worker.schedule import Schedule
from launcher.worker.steps import Step
from launcher.worker.validation import Validation


@dataclass
class Loop:
    """One rank's training."""

    duties: Duties
    take_step: Step
    schedule: Schedule
    validation: Validation | None

    def run(self, microbatches: Iterator[Any]) -> bool:
        """Train to the end; whether it was stopped before that.

        After a step: log, stop, validate, save, each if due. A training that is stopped is saved before it validates,
        and validates when it goes on: a validation may take longer than there is time to stop.
        """
        duties, state, timetable = self.duties, self.duties.state, self.duties.timetable
        stop = duties.context.stop
        if self.validation and not state.validated:
            self._validate(self.validation)
        while state.step < timetable.total_steps and not state.stops_early:
            self._step(microbatches)
            if stop.asked and stop.now(state.step):
                duties.save(protect=False)
                return True
            if self.validation and not state.validated:
                self._validate(self.validation)
            elif timetable.saves(state.step):
                duties.save(protect=False)
        return False

    def _step(self, microbatches: Iterator[Any]) -> None:
        duties, state = self.duties, self.duties.state
        step = duties.begin_step()
        duties.end_step(self.take_step(step, microbatches))
        self.schedule.advance(step)
        state.validated = self.validation is None or not duties.timetable.validates(step)

    def _validate(self, validation: Validation) -> None:
        """Validate; save if that is due, or if this is the best model so far, or the last one."""
        duties, step = self.duties, self.duties.state.step
        improved = duties.validated(validation.run(step))
        if improved or duties.state.stops_early or duties.timetable.saves(step):
            duties.save(protect=improved)
