"""The trials of a sweep as all its workers see them: who has which, what was decided, how each ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from launcher.errors import RequestError
from launcher.sweep.choice import Choice, direction, distributions
from launcher.sweep.folder import Sweep
from launcher.sweep.spec import SweepSpec

End = Literal["complete", "pruned", "failed"]
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
WORDS = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    **{state: word for word, state in STATES.items()},
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a trial ended."""

    state: End
    value: float | None = None
    values: Mapping[int, float] = field(default_factory=dict)
    """By step, up to where it was pruned."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


class Board:
    def __init__(self, storage: BaseStorage, study: int, spec: SweepSpec) -> None:
        self._storage = storage
        self._study = study
        self._spec = spec

    def trials(self) -> list[FrozenTrial]:
        """All of them, by number."""
        return self._storage.get_all_trials(self._study, deepcopy=False)[: self._spec.count]

    def claim(self, trial: FrozenTrial, worker: str) -> bool:
        """Take a waiting trial; False where another worker was quicker."""
        try:
            mine = self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if mine:
            self.own(trial, worker)
        return mine

    def own(self, trial: FrozenTrial, worker: str | None) -> None:
        """Say whose a running trial is. Two that take over one at once make the same trial; the later word counts."""
        self._update(self._storage.set_trial_user_attr, trial, "owner", worker)

    def decide(self, trial: FrozenTrial, choice: Choice, run_id: str) -> None:
        for name, distribution in distributions(self._spec).items():
            if name not in trial.params:  # a worker may have been killed in between
                param = distribution.to_internal_repr(choice.params[name])
                self._update(self._storage.set_trial_param, trial, name, param, distribution)
        for name, value in choice.attrs.items():
            self._update(self._storage.set_trial_system_attr, trial, name, value)
        self._update(self._storage.set_trial_user_attr, trial, "run", run_id)
        self._update(self._storage.set_trial_user_attr, trial, "settings", dict(choice.values))

    def finish(self, trial: FrozenTrial, ended: Ended) -> None:
        for step, value in ended.values.items():
            self._update(self._storage.set_trial_intermediate_value, trial, step, value)
        for name, attr in ended.attrs.items():
            self._update(self._storage.set_trial_system_attr, trial, name, attr)
        if ended.reason is not None:
            self._update(self._storage.set_trial_user_attr, trial, "reason", ended.reason)
        values = [ended.value] if ended.value is not None and math.isfinite(ended.value) else None
        self._update(self._storage.set_trial_state_values, trial, STATES[ended.state], values)

    def beat(self, worker: str, count: int) -> None:
        """Show that a worker lives."""
        self._storage.set_study_user_attr(self._study, f"beat:{worker}", count)

    def beats(self) -> dict[str, int]:
        attrs = self._storage.get_study_user_attrs(self._study)
        return {name.removeprefix("beat:"): count for name, count in attrs.items() if name.startswith("beat:")}

    def _update(self, update: Any, trial: FrozenTrial, *values: Any) -> None:
        """Change a trial, unless the worker that took it over has ended it already: with the same values."""
        try:
            update(trial._trial_id, *values)
        except UpdateFinishedTrialError:
            return


def create(storage: BaseStorage, sweep: Sweep) -> Board:
    """Make the sweep's trials; those that are there already stay."""
    try:
        study = storage.create_new_study([direction(sweep.spec)], sweep.id)
        storage.set_study_user_attr(study, "digest", sweep.digest)
    except DuplicatedStudyError:
        study = storage.get_study_id_from_name(sweep.id)
    for _ in range(storage.get_n_trials(study), sweep.spec.count):
        storage.create_new_trial(study, template_trial=create_trial(state=TrialState.WAITING))
    return Board(storage, study, sweep.spec)


def join(storage: BaseStorage, sweep: Sweep) -> Board:
    """The board that another worker made. Raises RequestError where there is none, or it is of another sweep."""
    try:
        study = storage.get_study_id_from_name(sweep.id)
    except KeyError:
        raise RequestError(
            f"{sweep.id}: the storage has no such sweep", hint="give the id that the first worker printed, in full"
        ) from None
    if storage.get_study_user_attrs(study).get("digest") != sweep.digest:
        raise RequestError(
            f"{sweep.id}: its job file, sweep file or settings are not those given here",
            hint="every worker takes the same files and --set options",
        )
    return Board(storage, study, sweep.spec)


def read(storage: BaseStorage, sweep: Sweep) -> Board:
    """The board, to look at."""
    try:
        return Board(storage, storage.get_study_id_from_name(sweep.id), sweep.spec)
    except KeyError:
        raise RequestError(f"{sweep.id}: the storage has no trials of it yet", hint=sweep.resume_command) from None


def all_over(trials: Sequence[FrozenTrial]) -> bool:
    return all(trial.state.is_finished() for trial in trials)
