"""What a trial tries, and whether it is ended early: functions of the sweep, the trial's number and the trials before.

Optuna decides in a study in memory that holds exactly those earlier trials that the rule names, with a sampler seeded
from the trial's number. So a trial is the same one however often it is decided, and by whom.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from launcher.sweep.spec import Dimension, SweepSpec, dimensions, grid_point
from launcher.sweep.storage import need

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Choice:
    values: Mapping[str, Any]
    """The settings, by their keys in the job file."""
    params: Mapping[str, Any]
    """The same as Optuna keeps them."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler has to know again later."""


def choose(spec: SweepSpec, number: int, earlier: Sequence[FrozenTrial]) -> Choice:
    """The settings of a trial; `earlier` are those that it knows, in order."""
    space = dimensions(spec)
    if spec.sampler == "grid":
        values = grid_point(spec, number)
        return Choice(values=values, params={key: _kept(space[key], value) for key, value in values.items()})
    study = _study(spec, earlier, sampler=_sampler(spec, number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a sampler that draws at random until it knows enough
        params = study.ask(distributions(spec)).params
    attrs = study.get_trials(deepcopy=False)[-1].system_attrs
    return Choice(values={key: _given(space[key], params[key]) for key in space}, params=params, attrs=attrs)


def direction(spec: SweepSpec) -> StudyDirection:
    return StudyDirection.MINIMIZE if spec.mode == "min" else StudyDirection.MAXIMIZE


def distributions(spec: SweepSpec) -> dict[str, BaseDistribution]:
    return {key: _distribution(each) for key, each in dimensions(spec).items()}


class Judge:
    """Says of a running trial, value by value, whether it ends here; the same whenever it is asked again."""

    def __init__(self, spec: SweepSpec, earlier: Sequence[FrozenTrial]) -> None:
        self._study = _study(spec, earlier, pruner=_pruner(spec))
        self._trial = self._study.ask()

    def ends(self, step: int, value: float) -> bool:
        """Take in the value of a step later than those before."""
        self._trial.report(value, step)
        return self._trial.should_prune()

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What the pruner has to know of this trial when it judges later ones."""
        return self._study.get_trials(deepcopy=False)[-1].system_attrs


def _study(
    spec: SweepSpec,
    earlier: Sequence[FrozenTrial],
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> optuna.Study:
    study = optuna.create_study(
        direction=direction(spec), sampler=sampler or RandomSampler(0), pruner=pruner or NopPruner()
    )
    study.add_trials(earlier)
    return study


def _sampler(spec: SweepSpec, number: int) -> BaseSampler:
    seed = int.from_bytes(hashlib.sha256(f"{spec.seed} {number}".encode()).digest()[:4])
    if spec.sampler == "random":
        return RandomSampler(seed)
    if spec.sampler == "cmaes":
        need("cmaes", "sampler: cmaes")
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return TPESampler(seed=seed)


def _pruner(spec: SweepSpec) -> BasePruner:
    about = spec.pruner
    if about.kind == "median":
        return MedianPruner(n_startup_trials=about.startup, n_warmup_steps=about.warmup)
    if about.kind == "halving":
        return SuccessiveHalvingPruner(min_resource=about.warmup or "auto", reduction_factor=about.factor)
    return NopPruner()


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.kind == "choice":
        return CategoricalDistribution([_kept(dimension, choice) for choice in dimension.choices])
    if dimension.kind == "int":
        step = int(dimension.step or 1)
        high = int(dimension.low) + (int(dimension.high) - int(dimension.low)) // step * step
        return IntDistribution(int(dimension.low), high, log=dimension.log, step=step)
    low, high_value, step_size = float(dimension.low), float(dimension.high), dimension.step
    if step_size is not None:
        high_value = low + math.floor((high_value - low) / step_size + 1e-9) * step_size
    return FloatDistribution(low, high_value, log=dimension.log, step=step_size)


def _kept(dimension: Dimension, value: Any) -> Any:
    """Optuna keeps no lists and sections: they become their JSON."""
    plain = dimension.kind != "choice" or value is None or isinstance(value, bool | int | float | str)
    return value if plain else json.dumps(value)


def _given(dimension: Dimension, param: Any) -> Any:
    if dimension.kind != "choice":
        return param
    return next(choice for choice in dimension.choices if _kept(dimension, choice) == param)
