"""What is due around a step, whoever makes it: watching the loss, logging, progress, saving, going on, the outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from launcher.errors import NotFinite
from launcher.heartbeat import BETWEEN, ENDING, SAVING, STEP
from launcher.store import RunFolder
from launcher.worker.batches import TrainingBatches
from launcher.worker.context import Context, Outcome
from launcher.worker.digest import weights_sha256, weights_xxh3
from launcher.worker.events import finite
from launcher.worker.ledger import Ledger
from launcher.worker.losses import Losses
from launcher.worker.metrics import MetricsFile
from launcher.worker.models import Weights
from launcher.worker.running import Running
from launcher.worker.state import State
from launcher.worker.timetable import Timetable

SHOWN_SAMPLES = 16


@dataclass
class Duties:
    """One rank's. Nothing here waits for the device, writes or talks unless it is due."""

    context: Context
    timetable: Timetable
    batches: TrainingBatches | None
    """To name the samples of a bad loss."""
    models: Weights
    state: State
    losses: Losses
    rates: Callable[[], Mapping[str, float]]
    """The learning rates by the name they are logged under."""
    running: Running = field(default_factory=Running)
    """The task's metrics of its training steps."""
    metrics: MetricsFile | None = None
    """On rank 0, from `resume` on."""

    def resume(self) -> Mapping[str, Any] | None:
        """Go on from the plan's checkpoint, if it names one, with the metrics as they were then.

        Returns the training state it holds, for whoever keeps more in it than `State` does.
        """
        name = self.context.plan.resume_from
        loaded = self.context.checkpoints.load_into(name, self.models.weights()) if name is not None else None
        if loaded is not None:
            self.resumed(loaded.step, loaded.epoch, loaded.training)
        self.open_metrics()
        return loaded.training if loaded is not None else None

    def resumed(self, step: int, epoch: int, training: Mapping[str, Any]) -> None:
        """The weights have been put back: put back the rest, and say so."""
        warnings = [*self.state.load(step, training), *self.running.load(training.get("running", []))]
        self.context.step, self.context.epoch = step, epoch
        if self.context.rank == 0:
            self.context.events.emit("resumed", step=step, name=self.context.plan.resume_from)
        self.context.warn(warnings)

    def open_metrics(self) -> None:
        """Begin or go on with metrics and ledger; what lies after the step that is gone on from is cut off."""
        if self.context.rank == 0:
            folder, step = RunFolder(Path(self.context.plan.run_dir)), self.state.step
            self.metrics = MetricsFile(folder.metrics, step=step, validated=self.state.validated)
            order = self.batches.orders if self.batches else None
            self.losses.ledger = Ledger(folder.ledger, step=step, order=order)
        if self.state.step == 0 and (self.losses.ledger or self.models.sharded):
            start = weights_xxh3(self.models.weights())
            if self.losses.ledger:
                self.losses.ledger.begin(start)

    def begin_step(self) -> int:
        """The number of the step that is about to be made."""
        if self.timetable.ends_epoch(self.state.step):
            self.running.reset()
        step = self.context.step = self.state.step = self.state.step + 1
        self.context.heart.beat(step, STEP)
        return step

    def end_step(self, scalars: Mapping[str, Tensor]) -> None:
        """The step was made; `scalars` are this rank's, one of them `loss`."""
        step = self.state.step
        self.losses.add(scalars)
        if self.timetable.logs(step):
            self._log()
        elif self.losses.full():
            self._checked_means()
        if self.context.events.progress_is_due():
            self._show_progress()
        self.context.heart.beat(step, BETWEEN)

    def validated(self, values: Mapping[str, float]) -> bool:
        """Take in a validation, the same one on every rank; whether it is the best so far."""
        state, step = self.state, self.state.step
        shown = {name: finite(value) for name, value in values.items()}
        if self.metrics:
            epoch = self.timetable.epoch(step)
            self.metrics.validated(step, epoch, shown)
            self.context.events.emit("validated", step=step, epoch=epoch, metrics=shown)
        state.validated = True
        state.latest |= shown
        improved = state.best is not None and state.best.see(values)
        if state.early_stop is not None:
            state.early_stop.see(values)
        return improved

    def check_finite(self) -> None:
        """Raises NotFinite rather than let a checkpoint be made of what is not a number. For all ranks at once."""
        self._checked_means()
        if not self.models.all_finite():
            raise NotFinite(
                f"weights are not finite after step {self.state.step}; no checkpoint was made of them",
                hint="a lower learning rate or training.clip_norm often helps",
            )

    def save(self, *, protect: bool, more: Mapping[str, Any] | None = None) -> None:
        """Save everything, on every rank; `more` is laid over the state."""
        self.check_finite()
        self.commit(self.models.weights(), {"running": self.running.tree(), **(more or {})}, protect=protect)

    def commit(self, weights: Mapping[str, Tensor], more: Mapping[str, Any], *, protect: bool) -> None:
        """Save these weights without another look at them."""
        step = self.state.step
        self.context.heart.beat(step, SAVING)
        if self.metrics:
            self.metrics.sync()
        training = {**self.state.tree(), **more}
        epoch = self.timetable.epoch(step)
        optimizers = [each.optimizer for each in self.state.optimizations.values()]
        self.context.checkpoints.save(
            step, epoch=epoch, model=weights, training=training, protect=protect, optimizers=optimizers
        )
        self.context.heart.beat(step, BETWEEN)

    def outcome(self, *, stopped: bool) -> Outcome:
        """Wait for the last checkpoint, whose writing the digest's computing goes along with."""
        self.context.heart.beat(self.state.step, ENDING)
        asked = (self.context.rank == 0 or self.models.sharded) and not stopped
        digest = weights_sha256(self.models.weights()) if asked else None
        self.context.checkpoints.wait()
        if self.metrics:
            self.metrics.sync()
            self.metrics.close()
        step = self.state.step
        return Outcome(
            step=step,
            epoch=self.timetable.epoch(step) if step else 0,
            metrics=dict(self.state.latest),
            checkpoint=self.context.checkpoints.newest,
            weights_sha256=digest if self.context.rank == 0 else None,
            stopped=stopped,
        )

    def _log(self) -> None:
        """A line of the metrics; the rate is the one this step was made with."""
        step, epoch = self.state.step, self.timetable.epoch(self.state.step)
        values: dict[str, float | None] = {name: finite(value) for name, value in self._checked_means().items()}
        values |= self.rates()
        values |= self.running.values()
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

    def _checked_means(self) -> dict[str, float]:
        """The newest step's scalars, averaged over the ranks. Raises NotFinite if any loss was not finite."""
        means, bad = self.losses.together(self.state.step)
        if bad is None:
            return means
        step, rank = bad
        raise NotFinite(
            f"the loss was not finite at step {step} (epoch {self.timetable.epoch(step)}) on rank {rank}"
            f"{self._samples_of(step, rank)}",
            hint="look at these samples of the training data; a lower learning rate or training.clip_norm often helps",
            rank=rank,
        )

    def _samples_of(self, step: int, rank: int) -> str:
        if self.batches is None:
            return ""
        numbers = [
            number
            for microstep in range(self.timetable.accumulate)
            for number in self.batches.samples(step, microstep, rank)
        ]
        more = f" and {len(numbers) - SHOWN_SAMPLES} more" if len(numbers) > SHOWN_SAMPLES else ""
        return f", samples {', '.join(map(str, numbers[:SHOWN_SAMPLES]))}{more}"
