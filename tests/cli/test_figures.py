"""What the lines of `launcher bench` claim, and what they do not."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.cli import figures
from launcher.timing import Lever
from tests.test_timing import report


@pytest.mark.parametrize(
    ("synthetic", "told"),
    [
        ((0.5, 0.5, 0.5), "input-bound: "),
        ((0.97, 0.97, 0.97), "compute-bound: "),
        ((0.90, 1.0, 1.10), "no difference within ± 20 %: "),
    ],
)
def test_what_the_data_cost_is_claimed_beyond_the_noise_only(synthetic: tuple[float, ...], told: str) -> None:
    real = dataclasses.replace(report(1.0, 1.0, 1.0), synthetic=report(*synthetic).figures)
    (line,) = [line for line in figures.lines(real) if "again and again" in line]
    assert line.startswith(told)


def test_a_lever_is_held_against_the_noise_of_the_job_as_it_is_too() -> None:
    lever = Lever(key="loader.workers", now="0", value="2", step=report(0.9, 0.9, 0.9).figures.step, ratio=0.9)
    unsure, sure = (dataclasses.replace(report(*rounds), levers=(lever,)) for rounds in ((0.8, 1.0, 1.2), (1.0,) * 3))
    assert "no difference" in list(figures.lines(unsure))[-1] and "quicker" in list(figures.lines(sure))[-1]


@pytest.mark.parametrize(("load", "told"), [(None, False), (0.1, False), (4.5, True)])
def test_a_machine_that_was_busy_is_told_of(load: float | None, told: bool) -> None:
    shown = list(figures.lines(dataclasses.replace(report(1.0), load=load)))
    assert any("4.5 processes wanted each core" in line for line in shown) == told
