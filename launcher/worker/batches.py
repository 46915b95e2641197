"""One endless loader: the microbatches of all remaining steps, over every epoch, made here or in loader processes.

A microbatch is a function of its number. So the loader needs no state, its processes are forked once for the whole
run (before any thread exists: a fork while another thread holds a lock can hang), and they work ahead across the end
of an epoch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from launcher.plan import Plan
from launcher.processes import die_with_parent
from launcher.worker import samples, seeding
from launcher.worker.order import Indices, Permutation
from launcher.worker.timetable import Timetable

WORD = 8
"""Bytes of a sample's number."""
BLOCK = 8192
"""Samples whose order is computed at once: enough to make the arithmetic cheap, few enough not to be felt (1 ms)."""


class TrainingBatches(Dataset[Any]):
    """The microbatches of one rank by number: the first of step 1 is 0."""

    def __init__(self, data: Dataset[Any], timetable: Timetable, seed: int, rank: int, collate: Any = None) -> None:
        self.timetable = timetable
        self.seed = seed
        self.rank = rank
        self.fetch = samples.fetcher(data, collate)
        self.per_step = timetable.microbatch(1) * timetable.accumulate
        self.per_block = max(1, BLOCK // self.per_step)
        self.block = (0, -1)
        self.block_samples: Indices = np.empty(0, dtype=np.int64)

    def __getitem__(self, number: int) -> Any:
        step, microstep = divmod(number, self.timetable.accumulate)
        chosen = self._samples(step + 1, microstep)
        return self.fetch(chosen, (self.seed, seeding.SAMPLE, self.timetable.epoch(step + 1)))

    def remaining(self, step: int) -> range:
        """The numbers of all microbatches after a step."""
        return range(step * self.timetable.accumulate, self.timetable.total_steps * self.timetable.accumulate)

    def samples(self, step: int, microstep: int, rank: int) -> list[int]:
        """Which samples a rank saw in a microbatch."""
        positions = self.timetable.position(step, microstep, rank) + np.arange(self.timetable.microbatch(step))
        numbers: list[int] = self._permutation(self.timetable.epoch(step))(positions).tolist()
        return numbers

    def orders(self, steps: range) -> Iterator[bytes]:
        """The samples of all processes in each of these steps, as 64-bit numbers in the order of their positions."""
        timetable = self.timetable
        for epoch, of_epoch in itertools.groupby(steps, timetable.epoch):
            shares = timetable.world_size * timetable.accumulate
            sizes = {step: timetable.microbatch(step) * shares for step in of_epoch}
            first = timetable.position(next(iter(sizes)), 0, 0)
            numbers = self._permutation(epoch)(first + np.arange(sum(sizes.values()))).tobytes()
            ends = itertools.accumulate(WORD * size for size in sizes.values())
            yield from (numbers[end - WORD * size : end] for size, end in zip(sizes.values(), ends, strict=True))

    def _samples(self, step: int, microstep: int) -> Indices:
        """This rank's samples, out of a block of steps whose order is computed together."""
        timetable = self.timetable
        epoch = timetable.epoch(step)
        block, offset = divmod((step - 1) % timetable.steps_per_epoch, self.per_block)
        if self.block != (epoch, block):
            first = step - offset
            last = min(first + self.per_block - 1, epoch * timetable.steps_per_epoch)
            self.block_samples, self.block = self._order(epoch, range(first, last + 1)), (epoch, block)
        each = timetable.microbatch(step)
        begin = offset * self.per_step + microstep * each
        return self.block_samples[begin : begin + each]

    def _order(self, epoch: int, steps: range) -> Indices:
        """This rank's samples of these steps of an epoch, one microbatch after the other."""
        begins = [
            self.timetable.position(step, microstep, self.rank) + np.arange(self.timetable.microbatch(step))
            for step in steps
            for microstep in range(self.timetable.accumulate)
        ]
        return self._permutation(epoch)(np.concatenate(begins))

    def _permutation(self, epoch: int) -> Callable[[Indices], Indices]:
        return Permutation(self.timetable.samples, self.seed, epoch)


class InGivenOrder(TrainingBatches):
    """The samples in the order they have in the data, in every epoch."""

    def _permutation(self, _epoch: int) -> Callable[[Indices], Indices]:
        return np.copy


class ValidationBatches(Dataset[Any]):
    """Every world-size-th validation sample, beginning with the rank's own number, in batches."""

    def __init__(self, data: Dataset[Any], plan: Plan, rank: int, collate: Any = None) -> None:
        self.seed = plan.spec.training.seed
        self.fetch = samples.fetcher(data, collate)
        self.total = samples.count(data, "validation")
        self.numbers = range(rank, self.total, plan.world_size)
        self.size = plan.microbatch

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.size)

    def __getitem__(self, number: int) -> Any:
        chosen = np.asarray(self.numbers[number * self.size : (number + 1) * self.size], dtype=np.int64)
        return self.fetch(chosen, (self.seed, seeding.VALIDATION_SAMPLE))

    def samples(self, number: int) -> int:
        """How many samples a batch has."""
        return len(self.numbers[number * self.size : (number + 1) * self.size])


def alike(total: int, plan: Plan) -> bool:
    """Whether so many validation samples, shared out, make equally many batches on every rank."""
    most, fewest = -(-total // plan.world_size), total // plan.world_size
    return -(-most // plan.microbatch) == -(-fewest // plan.microbatch)


class Stream:
    """Goes through batches in order, as often as asked. Its loader processes, if any, are forked here and kept."""

    def __init__(self, batches: Dataset[Any], numbers: range, plan: Plan, *, pin_memory: bool) -> None:
        self.batches = batches
        self.numbers = numbers
        self.loader = _loader(batches, numbers, plan, pin_memory) if plan.spec.loader.workers else None
        with _deaf():
            self.waiting = iter(self.loader) if self.loader else None

    def __iter__(self) -> Iterator[Any]:
        if self.loader is None:
            return map(self.batches.__getitem__, self.numbers)
        iterator, self.waiting = self.waiting or iter(self.loader), None
        return iterator


def _loader(batches: Dataset[Any], numbers: range, plan: Plan, pin_memory: bool) -> DataLoader[Any]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=plan.spec.loader.workers,
        prefetch_factor=plan.spec.loader.prefetch,
        collate_fn=_as_made,
        pin_memory=pin_memory,
        persistent_workers=True,
        multiprocessing_context="fork",
        worker_init_fn=partial(_begin_worker, os.getpid()),
    )


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return type(batch)(to_device(value, device) for value in batch)  # type: ignore[call-arg]
    return batch.to(device) if hasattr(batch, "to") else batch


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes forked in here never hear SIGTERM or SIGINT. Sent to the whole group, these ask the rank to save
    first, for which it still needs its batches; its loader processes end by its word, or with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(rank: int, _number: int) -> None:
    die_with_parent(rank)


def _as_made(batch: Any) -> Any:
    return batch
