"""Batches are functions of their number, however they are fetched."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from launcher.errors import JobFailed
from launcher.spec import Loader
from launcher.worker import samples, timetable
from launcher.worker.batches import Stream, TrainingBatches, ValidationBatches, to_device
from tests.worker import ranks


class Noise(Dataset[Any]):
    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: S311


class Whole(Noise):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class Endless(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter([])


def batches(data: Any, tmp_path: Path, *, rank: int = 0, world: int = 1, workers: int = 0, **training: Any) -> Any:
    training = {"epochs": 2, "seed": 3, **training}
    spec = ranks.job("classifier", world=world, training=training, loader=Loader(workers=workers))
    plan = ranks.plan_of(spec, tmp_path)
    made = TrainingBatches(data, timetable.make(plan, len(data)), plan.spec.training.seed, rank)
    return made, Stream(made, made.remaining(0), plan, pin_memory=False)


def listed(stream: Any) -> list[list[float]]:
    return [row for batch in stream for row in torch.stack([part.double() for part in batch]).T.tolist()]


@pytest.mark.parametrize("data", [Noise(), Whole()], ids=["samples", "whole batches"])
def test_loader_processes_do_not_change_a_sample(data: Any, tmp_path: Path) -> None:
    expected = listed(batches(data, tmp_path)[1])
    assert [listed(batches(data, tmp_path, workers=number)[1]) for number in (1, 2)] == [expected, expected]


def test_a_sample_draws_by_seed_epoch_and_number_alone(tmp_path: Path) -> None:
    alone = {(row[0], position // 50): row for position, row in enumerate(listed(batches(Noise(), tmp_path)[1]))}
    for rank in (0, 1):
        shared = listed(batches(Noise(), tmp_path, rank=rank, world=2, accumulate=2, batch_size=8)[1])
        assert all(row in (alone[row[0], 0], alone[row[0], 1]) for row in shared)
    assert alone[7.0, 0] != alone[7.0, 1]


def test_a_subset_keeps_its_samples_own_generators(tmp_path: Path) -> None:
    """torch's Subset claims to fetch whole batches; seeded once a batch, a sample would depend on its neighbours."""
    subset = Subset(Noise(), range(50))
    assert listed(batches(subset, tmp_path)[1]) == listed(batches(Noise(), tmp_path)[1])


def test_whole_tensors_are_fetched_with_the_bits_of_single_samples(tmp_path: Path) -> None:
    data = TensorDataset(torch.randn(50, 3, 2), torch.arange(50), torch.rand(50, 1) > 0.5)
    nested = Subset(Subset(data, list(range(49, -1, -1))), [4, 9, 1, 33, 2, 8, 7, 30, 40, 41, 42, 43])
    for each in (data, nested):
        slow = samples.fetcher(each, torch.utils.data.default_collate)
        quick = samples.fetcher(each, None)
        chosen = np.array([3, 1, 11], dtype=np.int64)
        for left, right in zip(quick(chosen, (0,)), slow(chosen, (0,)), strict=True):
            assert left.dtype == right.dtype and torch.equal(left, right)


def test_ranks_share_an_epoch_without_overlap(tmp_path: Path) -> None:
    seen = [listed(batches(Noise(), tmp_path, rank=rank, world=3, epochs=1)[1]) for rank in range(3)]
    numbers = [row[0] for rows in seen for row in rows]
    assert len(numbers) == len(set(numbers)) == 48


def test_a_step_can_be_begun_with(tmp_path: Path) -> None:
    made, stream = batches(Noise(), tmp_path, accumulate=2)
    plan = ranks.plan_of(ranks.job("classifier", training={"epochs": 2, "accumulate": 2}), tmp_path)
    later = Stream(made, made.remaining(3), plan, pin_memory=False)
    assert listed(later) == listed(stream)[36:]


def test_a_message_can_name_the_samples_of_any_rank(tmp_path: Path) -> None:
    made, _ = batches(Noise(), tmp_path, rank=0, world=2, accumulate=2)
    other, stream = batches(Noise(), tmp_path, rank=1, world=2, accumulate=2)
    rows = [row[0] for row in listed(stream)]
    named = [number for step in range(1, 9) for micro in (0, 1) for number in made.samples(step, micro, 1)]
    assert named == rows and other.samples(2, 1, 0) != other.samples(2, 1, 1)


def test_ten_million_samples_cost_nothing_to_begin_with(tmp_path: Path) -> None:
    class Large(Noise):
        def __len__(self) -> int:
            return 10_000_000

        def __getitem__(self, index: int) -> Any:
            return index, 0.0, 0.0, 0.0

    made, _ = batches(Large(), tmp_path, batch_size=64)
    last = len(made.remaining(0)) - 1
    assert made[last][0].shape == (10_000_000 % 64 or 64,)
    assert made.block_samples.nbytes <= 8 * 8192


def test_every_validation_sample_belongs_to_one_rank(tmp_path: Path) -> None:
    plan = ranks.plan_of(ranks.job("classifier", world=2, training={"epochs": 1, "batch_size": 8}), tmp_path)
    seen = []
    for rank in range(2):
        made = ValidationBatches(TensorDataset(torch.arange(13)), plan, rank)
        seen.append([batch[0].tolist() for batch in (made[number] for number in range(len(made)))])
        assert [made.samples(number) for number in range(len(made))] == [len(batch) for batch in seen[-1]]
    assert seen == [[[0, 2, 4, 6], [8, 10, 12]], [[1, 3, 5, 7], [9, 11]]]


def test_validation_can_be_repeated_with_the_same_processes(tmp_path: Path) -> None:
    spec = ranks.job("classifier", training={"epochs": 1}, loader=Loader(workers=1))
    plan = ranks.plan_of(spec, tmp_path)
    made = ValidationBatches(Noise(), plan, 0)
    stream = Stream(made, range(len(made)), plan, pin_memory=False)
    process = stream.loader._iterator._workers[0].pid  # type: ignore[union-attr]
    first, second = listed(stream), listed(stream)
    assert first == second and len(first) == 50
    assert stream.loader._iterator._workers[0].pid == process  # type: ignore[union-attr]


def test_a_loader_process_outlives_sigterm(tmp_path: Path) -> None:
    """A stop signal to the whole process group must leave the rank its batches until it has saved."""
    _, stream = batches(Noise(), tmp_path, workers=1)
    os.kill(stream.loader._iterator._workers[0].pid, signal.SIGTERM)
    assert len(listed(stream)) == 100


@pytest.mark.parametrize(("data", "message"), [(Endless(), "IterableDataset"), (object(), "object.*has no length")])
def test_data_without_length_or_index_are_refused(data: Any, message: str) -> None:
    with pytest.raises(JobFailed, match=message):
        samples.count(data, "data")


def test_everything_in_a_batch_is_moved() -> None:
    batch = {"a": [torch.zeros(1), "text"], "b": (torch.zeros(2), {"c": 3})}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"][0].is_meta and moved["b"][0].is_meta
    assert moved["a"][1] == "text" and moved["b"][1] == {"c": 3}
