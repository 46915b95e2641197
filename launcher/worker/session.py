"""What a script may ask of its run, behind `launcher.script`: state that is saved and put back, steps, logging."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from launcher.errors import JobFailed
from launcher.worker import samples, seeding, state, timetable, transfer
from launcher.worker.agreement import of_rank_0
from launcher.worker.batches import Stream, TrainingBatches, to_device
from launcher.worker.context import Context, Outcome
from launcher.worker.duties import Duties
from launcher.worker.losses import Losses
from launcher.worker.optimization import learning_rates
from launcher.worker.saved import Saved
from launcher.worker.state import State

BEFORE_ITS_BATCHES = -1
"""The microstep of what a program draws in a step before it takes a batch, or without one."""


class Microbatches:
    """The batches of one optimizer step on this process, each with its generators set when it is taken."""

    def __init__(self, session: Session, step: int, source: Iterator[Any], count: int) -> None:
        self._session = session
        self._step = step
        self._source = source
        self._count = count
        self.left = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        while self.left:
            microstep = self._count - self.left
            self.left -= 1
            batch = to_device(next(self._source), self._session.context.device)
            self._session.seed(self._step, microstep)
            yield batch


class Session:
    """One rank's part of a script's run."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.used = False
        """Whether the script looks for the wish to stop itself."""
        self.stopped = False
        self._listens = self._told = False
        self._saved: Saved | None = None
        self._duties: Duties | None = None
        self._scalars: dict[str, Tensor] = {}
        self._rates: dict[str, float] = {}
        self._improved = False

    def load(self, objects: Mapping[str, Any]) -> int:
        """Name what is saved, and put it back where a checkpoint is gone on from. Returns the steps made so far."""
        if self._duties is not None:
            raise JobFailed("script.load was called twice", hint="call it once, before the steps, with all there is")
        self._saved = Saved(objects, self.context.plan, given_to="script.load")
        duties = self._begin(self._saved)
        self.context.warn(self._saved.load(duties.resume()))
        return duties.state.step

    def steps(self, data: Dataset[Any] | None, collate: Callable[[list[Any]], Any] | None) -> Iterator[tuple[int, Any]]:
        """Every step that is left, with its batches; after each, what is due: logging, saving, the stop."""
        duties = self._within(data, collate)
        source = self._source(duties)
        self._listen()
        while duties.state.step < duties.timetable.total_steps and not duties.state.stops_early:
            step = duties.begin_step()
            self._rates = learning_rates(duties.state.optimizations)  # the script may advance its schedule within
            batches = Microbatches(self, step, source, duties.timetable.accumulate)
            self.seed(step, BEFORE_ITS_BATCHES)
            yield step, batches
            self._pass_over_the_rest(batches)
            self._end_step(duties)
            if self.should_stop():
                self.save()
                return
            if self._improved or duties.state.stops_early or duties.timetable.saves(step):
                self.save(protect=self._improved)

    def seed(self, step: int, microstep: int) -> None:
        """Set all generators, for what the program draws from here on."""
        words = (self.context.seed, seeding.STEP, step, microstep, self.context.rank)
        seeding.seed_all(seeding.mix(*words), self.context.device)

    def validates(self) -> bool:
        """Whether the job asks for a validation after this step."""
        duties = self._needed()
        return duties.timetable.validates(duties.state.step)

    def log(self, step: int | None, validation: Mapping[str, Any] | None, scalars: Mapping[str, Any]) -> None:
        duties = self._needed()
        if step is not None:
            duties.state.step = self.context.step = step
        self._scalars |= {name: _scalar(name, value) for name, value in scalars.items()}
        if validation is not None:
            values = {name: float(_scalar(name, value)) for name, value in validation.items()}
            self._improved = duties.validated(of_rank_0(values))
        if step is not None:
            self._end_step(duties)

    def save(self, *, protect: bool = False) -> None:
        duties = self._needed()
        if self._saved is None or not self._saved.models.by_name:
            raise JobFailed("there is no model to save", hint="name it before the steps: script.load(model=model)")
        self._improved = False
        duties.save(protect=protect, more=self._saved.tree())

    def should_stop(self) -> bool:
        stop = self.context.stop
        self._listen()
        self.stopped = self.stopped or (stop.asked and stop.now(self._needed().state.step))
        return self.stopped

    def outcome(self) -> Outcome:
        """How it ended. A script that never asked for anything has made no steps that anybody knows of."""
        if self._duties is not None:
            return self._duties.outcome(stopped=self.stopped)
        return Outcome(step=0, epoch=0, metrics={}, checkpoint=None, weights_sha256=None, stopped=self.stopped)

    @property
    def stops_early(self) -> bool:
        return self._duties is not None and self._duties.state.stops_early

    @property
    def total_steps(self) -> int | None:
        return self._duties.timetable.total_steps if self._duties is not None else None

    def _begin(self, saved: Saved) -> Duties:
        plan = self.context.plan
        times = timetable.without_data(plan)
        for each in saved.optimizations.values():
            each.scaler = None  # the script scales by itself
        losses = Losses(self.context)
        losses.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self._duties = Duties(
            context=self.context,
            timetable=times,
            batches=None,
            models=saved.models,
            state=State(plan, times.samples, saved.optimizations, saved.schedulers, *state.bests(plan)),
            losses=losses,
            rates=lambda: self._rates or learning_rates(saved.optimizations),
        )
        return self._duties

    def _within(self, data: Dataset[Any] | None, collate: Any) -> Duties:
        """The duties, with the timetable of the data."""
        duties = self._needed()
        if data is not None:
            times = timetable.make(self.context.plan, samples.count(data, "data"))
            duties.timetable = times
            duties.state.samples = times.samples
            duties.batches = TrainingBatches(data, times, self.context.seed, self.context.rank, collate)
        return duties

    def _source(self, duties: Duties) -> Iterator[Any]:
        if duties.batches is None:
            return iter(lambda: None, 0)
        remaining = duties.batches.remaining(duties.state.step)
        stream = Stream(duties.batches, remaining, self.context.plan, pin_memory=self.context.plan.levers.pin)
        return transfer.ahead(iter(stream), self.context)

    def _pass_over_the_rest(self, batches: Microbatches) -> None:
        """What the program left of a step; one that leaves some in each has not reckoned with `accumulate`."""
        if batches.left and self._duties is not None and self._duties.batches is not None and not self._told:
            self._told = True
            self.context.warn(
                [
                    f"step {self.context.step} left {batches.left} of its {len(batches)} batches, and their samples are"
                    " passed over: `for batch in batches` goes through all that training.accumulate asks for"
                ]
            )
        for _ in batches:
            pass

    def _needed(self) -> Duties:
        if self._duties is None:
            self.load({})
        return cast(Duties, self._duties)

    def _end_step(self, duties: Duties) -> None:
        if "loss" in self._scalars:
            duties.end_step(self._scalars)
        self._scalars = {}

    def _listen(self) -> None:
        if not self._listens:
            self.context.listen()
        self.used = self._listens = True


def _scalar(name: str, value: Any) -> Tensor:
    tensor = torch.as_tensor(value).detach()
    if tensor.numel() != 1:
        raise JobFailed(f"script.log: {name} has shape {tuple(tensor.shape)}", hint="log one number by each name")
    return tensor.reshape(())
