"""What belongs to a step: samples, epoch, duties."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RequestError
from launcher.worker.timetable import Timetable, make
from tests.worker import ranks


def timetable(samples: int, tmp_path: Path, *, world: int = 1, **training: Any) -> Timetable:
    training.setdefault("epochs", 2)
    return make(ranks.plan_of(ranks.job("classifier", world=world, training=training), tmp_path), samples)


@pytest.mark.parametrize(
    ("samples", "world", "accumulate", "steps", "last"),
    [(48, 1, 1, 4, 12), (50, 1, 1, 5, 2), (50, 2, 3, 4, 2), (55, 2, 3, 5, 1), (5, 1, 1, 1, 5), (11, 2, 2, 1, 2)],
)
def test_an_epoch_ends_with_a_shorter_step_if_all_ranks_get_samples(
    samples: int, world: int, accumulate: int, steps: int, last: int, tmp_path: Path
) -> None:
    table = timetable(samples, tmp_path, world=world, accumulate=accumulate)
    assert (table.steps_per_epoch, table.microbatch(steps), table.microbatch(2 * steps)) == (steps, last, last)


@pytest.mark.parametrize(("samples", "world", "accumulate"), [(50, 1, 1), (50, 2, 3), (100, 3, 2), (7, 2, 1)])
def test_the_microbatches_of_an_epoch_cover_its_order_once(
    samples: int, world: int, accumulate: int, tmp_path: Path
) -> None:
    table = timetable(samples, tmp_path, world=world, accumulate=accumulate)
    positions = [
        table.position(step, microstep, rank) + offset
        for step in range(table.steps_per_epoch + 1, 2 * table.steps_per_epoch + 1)
        for microstep in range(accumulate)
        for rank in range(world)
        for offset in range(table.microbatch(step))
    ]
    assert positions == list(range(len(positions)))
    assert samples - world * accumulate < len(positions) <= samples


def test_too_few_samples_for_the_processes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="5 samples, too few for 2 processes × 3 microbatches"):
        timetable(5, tmp_path, world=2, accumulate=3)


def test_duties_fall_on_epochs_or_steps_and_on_the_last_step(tmp_path: Path) -> None:
    table = timetable(48, tmp_path, epochs=None, steps=10, validate_every=3, log_every=4)
    assert [step for step in range(1, 11) if table.validates(step)] == [3, 6, 9, 10]
    assert [step for step in range(1, 11) if table.saves(step)] == [4, 8, 10]
    assert [step for step in range(1, 11) if table.logs(step)] == [4, 8, 10]
    assert [table.epoch(step) for step in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]


def test_steps_may_be_counted_without_an_end_near(tmp_path: Path) -> None:
    table = dataclasses.replace(timetable(10_000_000, tmp_path, epochs=10**9), total_steps=10**15)
    assert table.microbatch(10**15 - 1) == 12
