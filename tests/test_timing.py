"""What measured ranks answered becomes figures; two reports differ only beyond their noise."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from launcher import timing, typed
from launcher.measuring import Answer
from launcher.timing import Report


def answer(*steps: float, **changes: object) -> Answer:
    phases = {"forward": tuple(step / 2 for step in steps), "the rest": tuple(step / 2 for step in steps)}
    values = {"clock": "host", "steps": steps, "phases": phases, "unseen": {}, "saves": (), "samples": None, **changes}
    return Answer(**values)  # type: ignore[arg-type]


def report(*rounds: float) -> Report:
    return Report(
        **dict.fromkeys(("job", "kind", "command", "date", "device", "precision"), ""),
        **dict.fromkeys(("processes", "threads", "batch_size", "warmup", "steps"), 1),  # type: ignore[arg-type]
        hardware={"processor": "one"},
        versions={},
        figures=timing.fold([[answer(seconds, seconds, seconds)] for seconds in rounds]),
    )


def verdicts(before: Report, after: Report) -> dict[str, str]:
    return {each.name: each.verdict for each in timing.compare(before, after)}


def test_a_step_takes_as_long_as_on_its_slowest_rank() -> None:
    figures = timing.fold([[answer(1.0, 4.0, 1.0), answer(2.0, 1.0, 1.0)]])
    assert (figures.step.median, figures.total) == (2.0, 7.0)


def test_the_phases_of_a_step_add_up_to_it() -> None:
    figures = timing.fold([[answer(1.0, 2.0, 6.0)]])
    assert sum(phase.mean for phase in figures.phases.values()) == pytest.approx(figures.step.mean)


def test_each_process_keeps_its_own_median() -> None:
    figures = timing.fold([[answer(1.0, 1.0, 9.0)], [answer(2.0, 2.0, 9.0)]])
    assert figures.step.rounds == (1.0, 2.0)


def test_rates_are_over_all_measured_time() -> None:
    figures = timing.fold([[answer(1.0, 3.0, samples=8, tokens_per_sample=10)]])
    assert (figures.samples_per_second, figures.tokens_per_second) == (2.0, 20.0)


def test_what_no_data_set_tells_is_not_guessed() -> None:
    figures = timing.fold([[answer(1.0)]])
    assert figures.samples_per_second is figures.tokens_per_second is figures.utilization is None


def test_utilization_is_of_what_a_product_reaches() -> None:
    figures = timing.fold([[answer(2.0, flops_per_step=10, peak_flops=20.0)]])
    assert figures.utilization == 0.25


def test_the_first_save_is_told_apart_from_later_ones() -> None:
    figures = timing.fold([[answer(1.0, saves=(9.0, 2.0))], [answer(1.0, saves=(7.0, 4.0))]])
    assert (figures.save_first, figures.save_later) == (8.0, 3.0)


def test_within_the_noise_there_is_no_difference() -> None:
    assert verdicts(report(1.00, 1.03, 1.06), report(1.04, 1.05, 1.06))["step"] == "no difference"


def test_beyond_the_noise_there_is_one() -> None:
    quick, slow = report(1.00, 1.01, 1.02), report(1.10, 1.11, 1.12)
    assert verdicts(quick, slow)["step"] == "slower"
    assert verdicts(slow, quick)["step"] == "quicker"


def test_what_took_no_time_before_is_slower_by_any() -> None:
    before = timing.Difference(name="data wait", before=0.0, after=0.1, noise=0.15)
    assert (before.ratio, before.verdict) == (math.inf, "slower")
    assert dataclasses.replace(before, after=0.0).verdict == "no difference"


def test_single_processes_are_not_believed_for_less_than_memory_layout_can_do() -> None:
    assert verdicts(report(1.0), report(1.1))["step"] == "no difference"


def test_a_report_comes_back_from_its_json() -> None:
    one = report(1.0, 2.0)
    assert typed.read(Report, json.loads(json.dumps(dataclasses.asdict(one)))) == one


def test_reports_of_other_machines_are_told() -> None:
    other = dataclasses.replace(report(1.0), hardware={"processor": "two"})
    assert list(timing.not_alike(report(1.0), other)) == ["processor: one and two"]
