"""The stopwatch at a step's seams."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.measuring import Answer, Request
from launcher.store import RunFolder
from launcher.worker.measure import capacity
from launcher.worker.measure.stopwatch import HostClock, Stopwatch
from launcher.worker.measure.tracing import Tracer
from tests.worker import ranks


class Ticks:
    """A clock that moves by one with each look at it."""

    name = "ticks"

    def __init__(self) -> None:
        self.now = 0

    def mark(self, again: Any = None) -> int:
        self.now += 1
        return self.now

    def gaps(self, marks: Sequence[int]) -> list[float]:
        return [float(after - before) for before, after in itertools.pairwise(marks)]


@pytest.fixture
def watch() -> Stopwatch:
    watch = Stopwatch(Ticks())
    watch.runs = True
    return watch


def test_time_within_a_phase_is_its_own_and_the_rest_is_the_rest(watch: Stopwatch) -> None:
    watch.begin_step()
    watch.enter("forward")
    watch.leave()
    watch.begin_step()
    assert watch.times() == ([3.0], {"forward": [1.0], "the rest": [2.0]})


def test_a_phase_within_a_phase_is_not_counted_twice(watch: Stopwatch) -> None:
    watch.begin_step()
    watch.enter("forward")
    watch.enter("backward")
    watch.leave()
    watch.leave()
    watch.begin_step()
    steps, phases = watch.times()
    assert phases == {"forward": [2.0], "backward": [1.0], "the rest": [2.0]}
    assert steps == [5.0]


def test_a_backward_pass_waits_for_the_others_from_its_last_gradient_on(watch: Stopwatch) -> None:
    watch.begin_step()
    watch.enter("backward")
    watch.gradient_ready()
    watch.gradient_ready()
    watch.leave()
    watch.begin_step()
    assert watch.times()[1] == {"backward": [2.0], "reduce wait": [1.0], "the rest": [2.0]}


def test_a_step_that_has_only_begun_is_left_out(watch: Stopwatch) -> None:
    watch.begin_step()
    watch.begin_step()
    watch.enter("forward")
    assert len(watch.times()[0]) == 1


def test_before_it_runs_nothing_is_noted() -> None:
    watch = Stopwatch(HostClock())
    watch.begin_step()
    watch.enter("forward")
    watch.leave()
    assert watch.times() == ([], {})


def test_the_operations_of_a_product_are_counted_forward_and_backward() -> None:
    counter, weight = capacity.Counter(), torch.randn(4, 8, requires_grad=True)
    counter.begin()
    (torch.randn(2, 4) @ weight).sum().backward()
    assert counter.end() == 2 * (2 * 2 * 4 * 8)


def test_two_ranks_measure_their_steps_and_what_they_wait_for_each_other(tmp_path: Path) -> None:
    request = Request(warmup=3, steps=4)
    spec = ranks.job("classifier", world=2, training={"steps": request.length})
    plan = ranks.plan_of(spec, tmp_path / "run")
    plan = dataclasses.replace(plan, env={**plan.env, **request.environment()})
    ranks.ended(ranks.train(plan))
    for rank in range(2):
        answer = Answer.parse(RunFolder(tmp_path / "run").measured(rank).read_text())
        assert len(answer.steps) == request.steps
        assert {"data wait", "forward", "backward", "reduce wait", "optimizer"} <= answer.phases.keys()
        assert sum(answer.steps) == pytest.approx(sum(map(sum, answer.phases.values())))
        assert answer.flops_per_step and answer.samples == 3 * 12 + 8  # the data's 56 samples end within


def test_a_profile_tells_operators_and_where_it_waited(tmp_path: Path) -> None:
    watch, matrix = Stopwatch(HostClock()), torch.randn(64, 64)
    tracer = Tracer(watch, torch.device("cpu"))
    watch.runs = True
    tracer.start()
    for _ in range(2):
        watch.begin_step()
        watch.enter("forward")
        (matrix @ matrix).sum().item()
        watch.leave()
    watch.begin_step()
    tracer.stop()
    seen = tracer.profile()
    assert seen.steps == 2 and 0 < seen.busy <= seen.seconds
    assert "aten::mm" in {each.name for each in seen.operations}
    assert [(each.name, each.phase) for each in seen.waits] == [("aten::item", "forward")]
    assert {"phases", "operators"} == {span.lane for span in seen.spans}
    tracer.export(tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
