"""The training loop: steps, and what is due after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launcher.errors import NotFinite
from launcher.worker.batches import TrainingBatches
from launcher.worker.context import Context
from launcher.worker.events import finite
from launcher.worker.losses import Losses
from launcher.worker.metrics import MetricsFile
from launcher.worker.models import Models
from launcher.worker.state import State
from launcher.worker.steps import Step
from launcher.worker.timetable import Timetable
from launcher.worker.validation import Validation

SHOWN_SAMPLES = 16


@dataclass
class Loop:
    """One rank's training. Nothing here waits for the device, writes or talks unless it is due."""

    context: Context
    timetable: Timetable
    batches: TrainingBatches
    take_step: Step
    models: Models
    state: State
    losses: Losses
    validation: Validation | None
    metrics: MetricsFile | None
    """On rank 0."""

    def run(self, microbatches: Iterator[Any]) -> bool:
        """Train to the end; whether it was stopped before that.

        After a step: log, stop, validate, save, each if due. A training that is stopped is saved before it validates,
        and validates when it goes on: a validation may take longer than there is time to stop.
        """
        if self.validation and not self.state.validated:
            self._validate(self.validation)
        while self.state.step < self.timetable.total_steps and not self.state.stops_early:
            self._step(microbatches)
            if self.context.stop.asked and self.context.stop.now(self.state.step):
                self._save(protect=False)
                return True
            if self.validation and not self.state.validated:
                self._validate(self.validation)
            elif self.timetable.saves(self.state.step):
                self._save(protect=False)
        return False

    def _step(self, microbatches: Iterator[Any]) -> None:
        state = self.state
        step = self.context.step = state.step = state.step + 1
        self.losses.add(self.take_step(step, microbatches))
        if self.timetable.logs(step):
            self._log()
        elif self.losses.full():
            self._checked_means()
        if self.context.events.progress_is_due():
            self._show_progress()
        state.schedule.advance(step)
        state.validated = self.validation is None or not self.timetable.validates(step)

    def _log(self) -> None:
        """A line of the metrics; the rate is the one this step was made with."""
        step, epoch = self.state.step, self.timetable.epoch(self.state.step)
        values = {name: finite(value) for name, value in self._checked_means().items()}
        for name, optimization in self.state.optimizations.items():
            values[f"lr.{name}" if len(self.state.optimizations) > 1 else "lr"] = optimization.learning_rate()
        self.state.latest |= values
        if self.metrics:
            self.metrics.log(step, epoch, values)

    def _show_progress(self) -> None:
        step = self.state.step
        epoch = self.context.epoch = self.timetable.epoch(step)
        loss = self.losses.newest()
        if finite(loss) is None and self.context.world_size == 1:
            self._checked_means()
        self.context.events.progress(step=step, epoch=epoch, loss=loss, total_steps=self.timetable.total_steps)

    def _validate(self, validation: Validation) -> None:
        """Validate; save if that is due, or if this is the best model so far, or the last one."""
        state, step = self.state, self.state.step
        values = validation.run(step)
        shown = {name: finite(value) for name, value in values.items()}
        if self.metrics:
            self.metrics.validated(step, self.timetable.epoch(step), shown)
            self.context.events.emit("validated", step=step, epoch=self.timetable.epoch(step), metrics=shown)
        state.validated = True
        state.latest |= shown
        improved = state.best is not None and state.best.see(values)
        if state.early_stop is not None:
            state.early_stop.see(values)
        if improved or state.stops_early or self.timetable.saves(step):
            self._save(protect=improved)

    def _save(self, *, protect: bool) -> None:
        step, epoch = self.state.step, self.timetable.epoch(self.state.step)
        self._checked_means()
        if not self.models.all_finite():
            raise NotFinite(
                f"weights are not finite after step {step}; no checkpoint was made of them",
                hint="a lower learning rate or training.clip_norm often helps",
            )
        if self.metrics:
            self.metrics.sync()
        self.context.checkpoints.save(
            step, epoch=epoch, model=self.models.weights(), training=self.state.tree(), protect=protect
        )

    def _checked_means(self) -> dict[str, float]:
        """The newest step's scalars, averaged over the ranks. Raises NotFinite if any loss was not finite."""
        means, bad = self.losses.together(self.state.step)
        if bad is None:
            return means
        step, rank = bad
        numbers = [
            number
            for microstep in range(self.timetable.accumulate)
            for number in self.batches.samples(step, microstep, rank)
        ]
        more = f" and {len(numbers) - SHOWN_SAMPLES} more" if len(numbers) > SHOWN_SAMPLES else ""
        raise NotFinite(
            f"the loss was not finite at step {step} (epoch {self.timetable.epoch(step)}) on rank {rank},"
            f" samples {', '.join(map(str, numbers[:SHOWN_SAMPLES]))}{more}",
            hint="look at these samples of the training data; a lower learning rate or training.clip_norm often helps",
            rank=rank,
        )
