"""torchmetrics in a native task: computed over all processes in the order of the ranks, and the same after a kill."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from launcher.errors import JobFailed
from launcher.spec import JobSpec
from launcher.worker import measures
from launcher.worker.running import Running
from launcher.worker.tree import decode, encode
from tests.frameworks.bench import Bench, job, lines, plan_of


def measured(world: int = 2, **args: Any) -> JobSpec:
    training = {"steps": 8, "validate_every": 2}
    return job("native", "targets_native.py:measured", training=training, world=world, args=args)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Metric `SpearmanCorrcoef`:UserWarning")  # their own
@pytest.mark.parametrize("name", ["MeanMetric", "MaxMetric", "PearsonCorrCoef", "SpearmanCorrCoef", "MeanSquaredError"])
def test_what_three_ranks_have_gathered_is_what_one_would_have(name: str) -> None:
    import torchmetrics

    made = getattr(torchmetrics, name)
    samples = torch.rand(30, 2, generator=torch.Generator().manual_seed(1))
    columns = (0,) if name in ("MeanMetric", "MaxMetric") else (0, 1)

    def gathered(part: torch.Tensor) -> measures.State:
        metric = made()
        metric.update(*(part[:, column] for column in columns))
        return measures.take("m", metric)

    parted = measures.compute("m", made(), [gathered(part) for part in samples.split(10)])
    assert parted == pytest.approx(measures.compute("m", made(), [gathered(samples)]), rel=1e-5)


def test_two_ranks_compute_them_together_and_a_kill_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    whole = bench.run(measured(), tmp_path / "whole")
    bench.train(plan_of(measured(), tmp_path / "killed"), KILL_AT="7")
    bench.run(measured(), tmp_path / "killed", attempt=2)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    values = [line["validation"] for line in lines(tmp_path / "whole") if "validation" in line]
    assert [value["accuracy"] for value in values] == pytest.approx([value["right"] for value in values])
    assert len({value["order"] for value in values}) == len(values) == 4 and "accuracy" in whole["metrics"]


def test_over_training_steps_they_gather_all_ranks_epoch_until_a_kill_and_after_it(
    bench: Bench, tmp_path: Path
) -> None:
    spec = measured()
    bench.train(plan_of(spec, tmp_path / "run"), KILL_AT="7")
    bench.run(spec, tmp_path / "run", attempt=2)
    logged = [line for line in lines(tmp_path / "run") if "seen" in line]
    assert [(line["step"], line["seen"]) for line in logged] == [(2, 24), (4, 48), (6, 12), (8, 36)]
    assert all(-1 <= line["spread"] <= 1 for line in logged)


def test_a_training_that_goes_on_with_fewer_ranks_keeps_what_all_have_gathered(bench: Bench, tmp_path: Path) -> None:
    bench.train(plan_of(measured(world=2), tmp_path / "run"), KILL_AT="7")
    bench.run(measured(world=1), tmp_path / "run", attempt=2)
    assert [line["seen"] for line in lines(tmp_path / "run") if "seen" in line] == [24, 48, 12, 36]


def test_a_script_that_names_one_has_it_back_after_a_kill(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\nfrom torchmetrics import SumMetric\nfrom launcher import script\nseen = SumMetric()\n"
        "script.load(model=torch.nn.Linear(1, 1), seen=seen)\n"
        "for step, _ in script.steps():\n    seen.update(step)\n    script.log(loss=1.0, seen=seen.compute())\n"
    )
    bench.train(plan_of(job("script", str(program)), tmp_path / "run"), KILL_AT="7")
    bench.run(job("script", str(program)), tmp_path / "run", attempt=2)
    assert [line["seen"] for line in lines(tmp_path / "run")] == [3, 10, 21, 36]


def test_what_is_none_is_named(bench: Bench, tmp_path: Path) -> None:
    error = bench.fail(job("native", "targets_native.py:with_a_model"), tmp_path / "run")
    assert "training_metrics has all, a Linear" in error["message"] and "by name" in error["hint"]


def test_a_collection_and_what_one_rank_gathers_alone_go_on_after_a_kill(bench: Bench, tmp_path: Path) -> None:
    spec = job("native", "targets_native.py:collected", world=2)
    bench.run(spec, tmp_path / "whole")
    bench.train(plan_of(spec, tmp_path / "killed"), KILL_AT="7")
    bench.run(spec, tmp_path / "killed", attempt=2)
    logged = lines(tmp_path / "whole")
    assert lines(tmp_path / "killed") == logged
    assert {"scores.MulticlassF1Score", "scores.MulticlassAccuracy", "last"} < logged[0].keys()
    assert logged[0]["scores.MulticlassAccuracy"] != logged[0]["scores.MulticlassF1Score"]


def test_a_rank_without_a_sample_is_no_hindrance(bench: Bench, tmp_path: Path) -> None:
    assert bench.run(measured(samples=1), tmp_path / "run")["metrics"]["accuracy"] in (0.0, 1.0)


def test_one_that_computes_more_than_a_number_is_named(bench: Bench, tmp_path: Path) -> None:
    error = bench.fail(measured(world=1, average=None), tmp_path / "run")
    assert "metric accuracy computed shape (8,)" in error["message"] and "average it" in error["hint"]


def test_one_that_is_made_of_others_is_named() -> None:
    with pytest.raises(JobFailed, match="metric m is a SimpleNamespace, which has no state of its own"):
        measures.take("m", SimpleNamespace(_defaults={}))


def test_of_a_module_those_that_are_made_of_others_are_kept_by_their_parts() -> None:
    import torchmetrics

    module = torch.nn.Module()
    module.lowest = torchmetrics.MinMaxMetric(torchmetrics.MeanMetric())
    module.sum = torchmetrics.MeanMetric() + torchmetrics.MaxMetric()
    found = measures.of_module(module)
    assert sorted(found) == ["lowest", "lowest._base_metric", "sum.metric_a", "sum.metric_b"]
    assert [measures.was_updated(measures.gathered(each)) for each in found.values()] == [False] * 4


def test_a_tracker_of_epochs_has_those_of_before_again() -> None:
    import torchmetrics

    def tracked() -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"loss": torchmetrics.MetricTracker(torchmetrics.MeanMetric(), maximize=False)})

    def running(module: torch.nn.Module) -> Running:
        return Running(lambda: measures.of_module(module))

    before, after = tracked(), tracked()
    for value in (3.0, 5.0):
        before["loss"].increment()
        before["loss"].update(value)
    (kept,) = running(before).tree()
    measures.grow(after, kept)
    running(after).load([kept])
    assert after["loss"].compute_all().tolist() == [3.0, 5.0]


def test_what_detection_gathers_of_masks_goes_through_a_checkpoint() -> None:
    import torchmetrics

    class Masks(torchmetrics.Metric):
        def __init__(self) -> None:
            super().__init__()
            self.add_state("masks", default=[], dist_reduce_fx=None)

        def update(self, *masks: tuple[tuple[int, int], bytes]) -> None:
            self.masks += [masks, (torch.ones(2),)]

        def compute(self) -> None: ...

    metric, fresh = Masks(), Masks()
    metric.update(((3, 5), b"\x00encoded"))
    tree, tensors = encode(measures.gathered(metric))
    measures.put(fresh, [decode(tree, tensors)])
    assert str(fresh.masks) == str(metric.masks)


def test_a_running_mean_of_a_native_task_goes_on_where_it_was() -> None:
    import torchmetrics

    whole, first, second = (torchmetrics.RunningMean(window=3) for _ in range(3))
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    for number, value in enumerate(values):
        whole.update(value)
        (first if number < 4 else second).update(value)
        if number == 3:
            Running(lambda: {"m": second}).load(Running(lambda: {"m": first}).tree())
    assert Running(lambda: {"m": second}).values() == {"m": float(whole.compute())}


def test_one_whose_states_are_put_side_by_side_begins_anew_with_fewer_ranks() -> None:
    import torchmetrics

    metric, running = torchmetrics.PearsonCorrCoef(), Running(lambda: {"m": metric})
    metric.update(torch.rand(9), torch.rand(9))
    tree = [*running.tree(), *running.tree()]
    metric.reset()
    (told,) = running.load(tree)
    assert told.endswith("gathered on another number of processes: m") and running.values() == {"m": None}
