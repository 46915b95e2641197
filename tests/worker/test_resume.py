"""A run that was killed or stopped and resumed ends with the bits of one that was never disturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RequestError
from launcher.spec import Checkpointing, Loader
from launcher.worker.schedule import Schedulers
from launcher.worker.state import State
from tests import long
from tests.worker import ranks

CASES: dict[str, dict[str, Any]] = {
    "plain": {"training": {"epochs": 3, "clip_norm": 0.5}},
    "accumulated-bf16": {"training": {"steps": 9, "accumulate": 3, "precision": "bf16"}},
    "fp16": {
        "training": {"steps": 9, "precision": "fp16", "clip_norm": 0.5},
        "args": {"schedule": "milestones", "gain": 99.0},
    },
    "workers": {"training": {"epochs": 3, "batch_size": 16}, "loader": Loader(workers=2)},
    "two-ranks": {"training": {"epochs": 3, "accumulate": 2, "clip_norm": 0.5}, "world": 2},
    "two-ranks-workers": {"training": {"steps": 9}, "world": 2, "loader": Loader(workers=1)},
    "three-ranks": {"training": {"steps": 8}, "world": 3, "args": {"hidden": 400, "layers": 4}},
    "two-optimizers": {"training": {"steps": 9, "precision": "bf16"}, "world": 2, "target": "pair"},
}


def job(case: str, **more: Any) -> Any:
    settings = {"target": "classifier", "checkpoint": Checkpointing(every=3), **CASES[case], **more}
    return ranks.job(**settings)


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_goes_on_to_the_same_bits(case: str, tmp_path: Path) -> None:
    undisturbed = ranks.plan_of(job(case), tmp_path / "undisturbed")
    killed = ranks.plan_of(job(case), tmp_path / "killed")
    first = ranks.ended(ranks.train(undisturbed))
    microbatches = job(case).training.accumulate
    assert ranks.train(killed, {"DISTURB": f"*:{6 * microbatches}:SIGKILL"}) == [-9] * killed.world_size
    second = ranks.ended(ranks.resume(killed))
    assert second[0].weights_sha256 == first[0].weights_sha256
    assert ranks.result(tmp_path / "killed") == ranks.result(tmp_path / "undisturbed")


@pytest.mark.parametrize("case", ["plain", "accumulated-bf16", "two-ranks-workers", "two-optimizers"])
@pytest.mark.parametrize("step", long.but([4], [1, 4, 7]))
def test_a_stopped_run_goes_on_to_the_same_bits(case: str, step: int, tmp_path: Path) -> None:
    settings = {**CASES[case]["training"], "steps": 100, "epochs": None}
    spec = job(case, training=settings)
    undisturbed, stopped = (ranks.plan_of(spec, tmp_path / name) for name in ("undisturbed", "stopped"))
    ranks.ended(ranks.train(undisturbed))
    endings = ranks.ended(ranks.train(stopped, {"DISTURB": f"0:{step * spec.training.accumulate}:SIGTERM"}))
    assert all(each.stopped for each in endings)
    assert len({each.step for each in endings}) == 1
    assert step <= endings[0].step < 100
    assert [each.stopped for each in ranks.ended(ranks.resume(stopped))] == [False] * stopped.world_size
    assert ranks.result(tmp_path / "stopped") == ranks.result(tmp_path / "undisturbed")


def test_a_checkpoint_with_other_optimizers_is_refused_by_their_names(tmp_path: Path) -> None:
    plan = ranks.plan_of(job("plain"), tmp_path / "run")
    optimizations: Any = {"generator": None, "judge": None}
    state = State(plan, 0, optimizations, Schedulers({}), None, None)
    with pytest.raises(RequestError, match="the optimizers first, 1, this one has the optimizers generator, judge"):
        state.load(3, {"validated": True, "latest": {}, "optimizations": {"first": {}, "1": {}}})
