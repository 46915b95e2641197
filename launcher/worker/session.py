"""What a script may ask of its run, behind `launcher.script`: state that is saved and put back, steps, logging."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from launcher.errors import JobFailed
from launcher.worker import samples, seeding, state, timetable
from launcher.worker.batches import Stream, TrainingBatches, to_device
from launcher.worker.context import Context, Outcome
from launcher.worker.duties import Duties
from launcher.worker.losses import Losses
from launcher.worker.models import Weights
from launcher.worker.optimization import Optimization, learning_rates
from launcher.worker.schedule import Schedulers
from launcher.worker.state import State
from launcher.worker.stop import Store

Named = TypeVar("Named")


class Microbatches:
    """The batches of one optimizer step on this process, each with its generators set when it is taken."""

    def __init__(self, session: Session, step: int, source: Iterator[Any], count: int) -> None:
        self._session = session
        self._step = step
        self._source = source
        self._count = count
        self._taken = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        while self._taken < self._count:
            context, microstep = self._session.context, self._taken
            self._taken += 1
            batch = to_device(next(self._source), context.device)
            words = (context.seed, seeding.STEP, self._step, microstep, context.rank)
            seeding.seed_all(seeding.mix(*words), context.device)
            yield batch


class Session:
    """One rank's part of a script's run."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.used = False
        """Whether the script looks for the wish to stop itself."""
        self.stopped = False
        self._listens = False
        self._objects: dict[str, Any] = {}
        self._duties: Duties | None = None
        self._scalars: dict[str, Tensor] = {}
        self._rates: dict[str, float] = {}
        self._improved = False

    def load(self, objects: Mapping[str, Any]) -> int:
        """Name what is saved, and put it back where a checkpoint is gone on from. Returns the steps made so far."""
        if self._duties is not None:
            raise JobFailed("script.load was called twice", hint="call it once, before the steps, with all there is")
        self._objects = {name: _unwrapped(each) for name, each in objects.items()}
        for name, each in self._objects.items():
            if not callable(getattr(each, "state_dict", None)):
                raise JobFailed(
                    f"script.load({name}=…) was given a {type(each).__name__}, which has no state_dict()",
                    hint="give models, optimizers, schedulers, or any object with state_dict and load_state_dict",
                )
        duties = self._begin(timetable.without_data(self.context.plan), None)
        tree = duties.resume()
        saved = (tree or {}).get("objects", {})
        for name, each in self._others().items():
            if name in saved:
                each.load_state_dict(saved[name])
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
            yield step, batches
            for _ in batches:
                pass
            self._end_step(duties)
            if self.should_stop():
                self.save()
                return
            if self._improved or duties.state.stops_early or duties.timetable.saves(step):
                self.save(protect=self._improved)

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
            self._improved = duties.validated(self._agreed(values))
        if step is not None:
            self._end_step(duties)

    def save(self, *, protect: bool = False) -> None:
        duties = self._needed()
        if not self._models().by_name:
            raise JobFailed("there is no model to save", hint="name it before the steps: script.load(model=model)")
        self._improved = False
        others = {name: each.state_dict() for name, each in self._others().items()}
        duties.save(protect=protect, more={"objects": others})

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

    def _begin(self, times: timetable.Timetable, batches: TrainingBatches | None) -> Duties:
        plan = self.context.plan
        optimizations = {name: Optimization(each, plan) for name, each in self._optimizers().items()}
        for each in optimizations.values():
            each.scaler = None  # the script scales by itself
        losses = Losses(self.context)
        losses.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self._duties = Duties(
            context=self.context,
            timetable=times,
            batches=batches,
            models=self._models(),
            state=State(plan, times.samples, optimizations, Schedulers(self._schedulers()), *state.bests(plan)),
            losses=losses,
            rates=lambda: self._rates or learning_rates(optimizations),
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
        return iter(Stream(duties.batches, remaining, self.context.plan, pin_memory=self.context.device.type == "cuda"))

    def _needed(self) -> Duties:
        if self._duties is None:
            self.load({})
        return cast(Duties, self._duties)

    def _end_step(self, duties: Duties) -> None:
        if "loss" in self._scalars:
            duties.end_step(self._scalars)
        self._scalars = {}

    def _agreed(self, values: dict[str, float]) -> dict[str, float]:
        """Rank 0's, everywhere: what follows from them must be one decision."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            shared = [values]
            dist.broadcast_object_list(shared, src=0)
            return shared[0]
        return values

    def _listen(self) -> None:
        if not self._listens and dist.is_initialized() and dist.get_world_size() > 1:
            self.context.stop.listen(cast(Store, dist.distributed_c10d._get_default_store()))
        self.used = self._listens = True

    def _models(self) -> Weights:
        found = {name: each for name, each in self._objects.items() if isinstance(each, nn.Module)}
        return Weights(_renamed_if_alone(found, ""))

    def _optimizers(self) -> dict[str, Optimizer]:
        found = {name: each for name, each in self._objects.items() if isinstance(each, Optimizer)}
        return _renamed_if_alone(found, "optimizer")

    def _schedulers(self) -> dict[str, Any]:
        return {name: each for name, each in self._objects.items() if isinstance(each, LRScheduler)}

    def _others(self) -> dict[str, Any]:
        known = (nn.Module, Optimizer, LRScheduler)
        return {name: each for name, each in self._objects.items() if not isinstance(each, known)}


def _renamed_if_alone(found: dict[str, Named], name: str) -> dict[str, Named]:
    """A single one has the name that every kind of task gives it: so a checkpoint of one kind fits another."""
    return {name if len(found) == 1 else own: each for own, each in found.items()}


def _unwrapped(given: Any) -> Any:
    return given.module if isinstance(given, DistributedDataParallel) else given


def _scalar(name: str, value: Any) -> Tensor:
    tensor = torch.as_tensor(value).detach()
    if tensor.numel() != 1:
        raise JobFailed(f"script.log: {name} has shape {tuple(tensor.shape)}", hint="log one number by each name")
    return tensor.reshape(())
