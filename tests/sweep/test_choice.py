import math
from typing import Any

import pytest

pytest.importorskip("optuna")

from optuna.trial import FrozenTrial, TrialState, create_trial

from launcher.sweep.choice import Judge, choose, distributions
from launcher.sweep.spec import Pruner, SweepSpec

SPACE = {
    "a": {"float": [1e-4, 1.0], "log": True},
    "b": {"int": [1, 9], "step": 2},
    "c": {"choice": [None, [1, 2], "x"]},
}
NUMBERS = {key: SPACE[key] for key in ("a", "b")}


def spec(sampler: Any, space: dict[str, Any] = SPACE, **more: Any) -> SweepSpec:
    return SweepSpec(metric="m", space=space, trials=30, sampler=sampler, seed=3, **more)


def swept(about: SweepSpec, count: int) -> list[FrozenTrial]:
    """A sweep by the book: each trial knows those before it."""
    done: list[FrozenTrial] = []
    for number in range(count):
        choice = choose(about, number, done)
        value = math.log10(choice.values["a"]) ** 2 + choice.values["b"]
        given = {
            "params": dict(choice.params),
            "distributions": distributions(about),
            "system_attrs": dict(choice.attrs),
        }
        done.append(create_trial(state=TrialState.COMPLETE, value=value, **given))
    return done


@pytest.mark.parametrize(
    ("sampler", "space"), [("tpe", SPACE), ("random", SPACE), ("grid", {"c": SPACE["c"]}), ("cmaes", NUMBERS)]
)
def test_a_trial_is_the_same_one_however_often_it_is_decided(sampler: str, space: dict[str, Any]) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    about = spec(sampler, space)
    done = swept(about, 12) if "a" in space else []
    last = 12 if done else 2
    assert choose(about, last, done) == choose(about, last, done)
    if done:
        assert [trial.params for trial in swept(about, 12)] == [trial.params for trial in done]
        assert len({trial.params["a"] for trial in done}) == 12


def test_a_seed_and_a_number_make_another_trial() -> None:
    about = spec("random")
    assert choose(about, 0, []) != choose(about, 1, [])
    assert choose(about, 0, []) != choose(SweepSpec(metric="m", space=SPACE, trials=3, sampler="random"), 0, [])


def test_a_sampler_that_learns_looks_where_it_was_good() -> None:
    values = [abs(math.log10(trial.params["a"])) for trial in swept(spec("tpe"), 24)]
    assert sum(values[12:]) < sum(values[:12])


def test_values_lie_on_their_steps_and_lists_come_back_as_lists() -> None:
    values = [choose(spec("random"), number, []).values for number in range(20)]
    assert {value["b"] for value in values} <= {1, 3, 5, 7, 9}
    assert [1, 2] in [value["c"] for value in values] and all(1e-4 <= value["a"] <= 1 for value in values)


def earlier(*last: float) -> list[FrozenTrial]:
    return [create_trial(value=value, intermediate_values={1: 5.0, 2: value}) for value in last]


def test_the_median_ends_what_is_worse_than_most_and_not_before_enough_are_known() -> None:
    about = spec("random", pruner=Pruner(kind="median", startup=2))
    bad, early = Judge(about, earlier(1.0, 2.0)), Judge(about, earlier(1.0))
    assert not bad.ends(1, 5.0) and bad.ends(2, 9.0)
    assert not early.ends(1, 5.0) and not early.ends(2, 9.0)


def test_halving_remembers_the_rungs_of_a_trial() -> None:
    about = spec("random", pruner=Pruner(kind="halving", warmup=1, factor=2))
    first = Judge(about, [])
    assert not first.ends(1, 1.0)
    known = create_trial(value=1.0, intermediate_values={1: 1.0}, system_attrs=dict(first.attrs))
    assert Judge(about, [known]).ends(1, 2.0) and not Judge(about, [known]).ends(1, 0.5)


def test_nothing_is_ended_where_no_pruner_is_asked_for() -> None:
    judge = Judge(spec("random"), earlier(1.0, 1.0, 1.0, 1.0, 1.0))
    assert not any(judge.ends(step, 1e9) for step in range(1, 5))
