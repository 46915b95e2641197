"""A framework's training loader, read for its samples and order; in its place launcher's batches, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset, DistributedSampler, RandomSampler, SequentialSampler, default_collate

from launcher.errors import JobFailed
from launcher.worker import seeding, timetable, transfer
from launcher.worker.batches import InGivenOrder, Stream, TrainingBatches
from launcher.worker.context import Context
from launcher.worker.duties import Duties
from launcher.worker.samples import count
from launcher.worker.timetable import Timetable


@dataclass(frozen=True)
class Source:
    """What a training loader says of its samples."""

    data: Any
    collate: Any
    shuffled: bool
    drop_last: bool

    def timetable(self, context: Context) -> Timetable:
        return timetable.make(context.plan, count(self.data, "data"), drop_last=self.drop_last)

    def batches(self, times: Timetable, context: Context) -> TrainingBatches:
        kind = TrainingBatches if self.shuffled else InGivenOrder
        return kind(self.data, times, context.seed, context.rank, self.collate)


def read(loader: Any, context: Context) -> Source:
    """Raises JobFailed for a loader whose order cannot be a function of the step."""
    if isinstance(loader, Dataset):
        return Source(loader, None, shuffled=True, drop_last=False)
    if not isinstance(loader, DataLoader):
        if (
            hasattr(loader, "__getitem__")
            and hasattr(loader, "__len__")
            and not isinstance(loader, dict | list | tuple)
        ):
            return Source(loader, None, shuffled=True, drop_last=False)
        raise _unordered(f"is a {type(loader).__name__}")
    count(loader.dataset, "training data")
    if loader.batch_sampler is None or type(loader.batch_sampler).__module__ != "torch.utils.data.sampler":
        raise _unordered(f"has a batch sampler of its own, {type(loader.batch_sampler).__name__}")
    shuffled = _shuffled(loader.sampler)
    _warn_of_what_is_not_used(loader, context)
    collate = None if loader.collate_fn is default_collate else loader.collate_fn
    return Source(loader.dataset, collate, shuffled, bool(loader.drop_last))


class EpochBatches:
    """Each pass is what is left of the epoch that the training has come to; all passes share one stream.

    The generators are set for a microbatch before it is handed out, so that transforms on the device (Lightning's
    `on_after_batch_transfer`) are functions of the step too.
    """

    def __init__(self, batches: TrainingBatches, duties: Duties, context: Context) -> None:
        self._duties = duties
        self._context = context
        remaining = batches.remaining(duties.state.step)
        stream = Stream(batches, remaining, context.plan, pin_memory=context.plan.levers.pin)
        self._numbered = zip(remaining, transfer.ahead(iter(stream), context), strict=True)

    def __len__(self) -> int:
        return self._duties.timetable.steps_per_epoch * self._duties.timetable.accumulate

    def __iter__(self) -> Iterator[Any]:
        """Begins only when the first batch is asked for: a pass that is made and not used takes nothing."""
        times, context = self._duties.timetable, self._context
        done = self._duties.state.step % times.steps_per_epoch * times.accumulate
        for _ in range(len(self) - done):
            number, batch = next(self._numbered, (0, None))
            if batch is None:
                return
            step, microstep = divmod(number, times.accumulate)
            words = (context.seed, seeding.STEP, step + 1, microstep, context.rank)
            seeding.seed_all(seeding.mix(*words), context.device)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: where it is follows from the step. Lightning takes a loader with this method for resumable."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def _shuffled(sampler: Any) -> bool:
    if isinstance(sampler, RandomSampler) and not sampler.replacement and sampler._num_samples is None:
        return True
    if isinstance(sampler, DistributedSampler):
        return bool(sampler.shuffle)
    if isinstance(sampler, SequentialSampler):
        return False
    raise _unordered(f"has a sampler of its own, {type(sampler).__name__}")


def _unordered(what: str) -> JobFailed:
    return JobFailed(
        f"the training loader {what}; its order could not be resumed exactly",
        hint="give a DataLoader over a data set with __len__ and __getitem__, with shuffle=True or False",
    )


def _warn_of_what_is_not_used(loader: DataLoader[Any], context: Context) -> None:
    plan = context.plan
    ours, workers = plan.spec.training.batch_size, plan.spec.loader.workers
    for key, given, taken, decided in (
        ("batch_size", loader.batch_size, (None, 1, ours, plan.microbatch), f"training.batch_size is {ours}"),
        ("num_workers", loader.num_workers, (0, workers), f"loader.workers is {workers}"),
    ):
        if given not in taken:
            context.warn([f"the training loader's {key} {given} is not used: {decided}"])
