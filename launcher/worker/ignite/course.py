"""One training by Ignite, from launcher's side: handlers after the target's own, and what they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from launcher.worker import epochs, state
from launcher.worker.agreement import of_rank_0
from launcher.worker.context import Context, Outcome
from launcher.worker.duties import Duties
from launcher.worker.ignite import gathered
from launcher.worker.losses import Losses
from launcher.worker.models import Weights
from launcher.worker.optimization import learning_rates
from launcher.worker.saved import Saved
from launcher.worker.state import State


class Course:
    """A step is whole when all handlers of its last event have had their turn: ours are attached after them."""

    def __init__(self, trainer: Engine, source: epochs.Source, saved: Saved, context: Context, models: Weights) -> None:
        times = source.timetable(context)
        batches = source.batches(times, context)
        best, early_stop = state.bests(context.plan)
        self.trainer = trainer
        self.context = context
        self.saved = saved
        self.validate: Callable[[], None] | None = None
        """Runs the validation, where the target does not do it itself."""
        self._rates: dict[str, float] = {}
        self._losses: list[Tensor] = []
        self._save = self._protect = self._stop = False
        self.duties = Duties(
            context=context,
            timetable=times,
            batches=batches,
            models=models,
            state=State(context.plan, times.samples, saved.optimizations, saved.schedulers, best, early_stop),
            losses=Losses(context),
            rates=lambda: self._rates,
        )
        self._resumed = self.duties.resume()
        context.warn(saved.load(self._resumed))
        self._ended = bool((self._resumed or {}).get("ended"))
        """Whether the target's own handlers ended it before its last step."""
        self.data = epochs.EpochBatches(batches, self.duties, context)

    def run(self) -> Outcome:
        """Let the engine run from where the training is to its end, or until it is asked to stop."""
        times, step = self.duties.timetable, self.duties.state.step
        self.context.listen()
        length = times.steps_per_epoch * times.accumulate
        max_epochs = -(-times.total_steps // times.steps_per_epoch)
        if step < times.total_steps and not self._ended and not self.duties.state.stops_early:
            self._attach()
            self._validate()
            if step:
                iteration = step * times.accumulate
                position = {"epoch_length": length, "max_epochs": max_epochs, "iteration": iteration}
                self.trainer.load_state_dict(position)
            if self._resumed:
                within = not times.ends_epoch(step)
                ranks = self.context.world_size
                self.context.warn(gathered.put_back(self.trainer, self._resumed, ranks, within_epoch=within))
            self.trainer.run(self.data, max_epochs=max_epochs, epoch_length=length)
            if not self._stop:
                self._ended = self.duties.state.step < times.total_steps
                self._commit()
        return self.duties.outcome(stopped=self._stop)

    def validated(self, values: Mapping[str, Any]) -> None:
        """Take in an evaluator's metrics."""
        numbers = {name: float(value) for name, value in values.items() if _is_number(value)}
        if self.duties.validated(of_rank_0(numbers)):
            self._save = self._protect = True
        if self.duties.state.stops_early:
            self.trainer.terminate()

    def _attach(self) -> None:
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self._iteration_started)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._clean_point)

    def _iteration_started(self, engine: Engine) -> None:
        if (engine.state.iteration - 1) % self.duties.timetable.accumulate == 0:
            self._losses = []
            step = self.duties.begin_step()
            if self.duties.timetable.logs(step):
                self._rates = learning_rates(self.saved.optimizations)

    def _iteration_completed(self, engine: Engine) -> None:
        times = self.duties.timetable
        loss = _loss(engine.state.output)
        if loss is not None:
            self._losses.append(loss)
        if engine.state.iteration % times.accumulate:
            return
        step = self.duties.state.step
        if self._losses:
            together = torch.stack(self._losses).sum() if len(self._losses) > 1 else self._losses[0]
            self.duties.end_step({"loss": together})
        self._save = self._save or times.saves(step)
        self._stop = self.context.stop.asked and self.context.stop.now(step)
        self.duties.state.validated = self.validate is None or not times.validates(step)
        if not self._stop:  # a training that is stopped validates when it goes on
            self._validate()
        if not times.ends_epoch(step):
            self._clean_point(engine)
        if step >= times.total_steps and not times.ends_epoch(step):
            engine.terminate()

    def _validate(self) -> None:
        if self.validate is not None and not self.duties.state.validated:
            self.validate()

    def _clean_point(self, engine: Engine) -> None:
        last = self.duties.state.step >= self.duties.timetable.total_steps
        if self._stop or (self._save and not last):
            self._commit()
        if self._stop:
            engine.terminate(skip_completed=True)

    def _commit(self) -> None:
        more = {**self.saved.tree(), **gathered.tree(self.trainer), "ended": self._ended}
        self.duties.save(protect=self._protect, more=more)
        self._save = self._protect = False


def _loss(output: Any) -> Tensor | None:
    """Of an engine's output: itself, its `loss`, or the first of several."""
    if isinstance(output, Mapping):
        output = output.get("loss")
    elif isinstance(output, tuple | list):
        output = output[0] if output else None
    return torch.as_tensor(output).detach().reshape(()) if _is_number(output) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
