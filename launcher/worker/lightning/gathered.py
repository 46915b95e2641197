"""What Lightning gathers over an epoch, kept through a kill within it: the module's torchmetrics, and the means of what
it logs with `on_epoch`, which schedules and callbacks may follow at the epoch's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.worker import measures
from launcher.worker.agreement import of_all_ranks
from launcher.worker.running import OTHER_RANKS, Running, begun_anew

_MODULE, _LOGGED = "running", "logged"


def tree(trainer: Any) -> dict[str, Any]:
    """For a checkpoint, of every rank. For all ranks at once."""
    logged = {
        key: measures.gathered(each)
        for key, each in _results(trainer).items()
        if each.is_tensor and each.meta.on_epoch and not each.has_reset
    }
    return {_MODULE: _of_module(trainer).tree(), _LOGGED: of_all_ranks(logged)}


def put(trainer: Any, state: Mapping[str, Any]) -> list[str]:
    """Go on from what a checkpoint holds; what was logged on another number of ranks begins anew.

    Returns what to warn of.
    """
    kept = state.get(_MODULE, [])
    measures.grow(trainer.lightning_module, {path for by_path in kept for path in by_path})
    warnings = _of_module(trainer).load(kept)
    by_rank = state.get(_LOGGED, [])
    if len(by_rank) == trainer.world_size:
        _put_when_logged(_results(trainer), dict(by_rank[trainer.global_rank]))
        return warnings
    logged = (key.removeprefix("training_step.") for states in by_rank for key in states)
    return [*warnings, *begun_anew(set(logged), OTHER_RANKS)]


def _put_when_logged(results: Any, states: dict[str, measures.State]) -> None:
    """Lightning makes an entry when its name is first logged, with settings that only `log` knows."""

    class GoingOn(type(results)):  # type: ignore[misc]  # the flavour's class
        def __setitem__(self, key: str, entry: Any) -> None:
            super().__setitem__(key, entry)
            if state := states.pop(key, None):
                measures.put(entry, [state])

    results.__class__ = GoingOn


def _of_module(trainer: Any) -> Running:
    return Running(lambda: measures.of_module(trainer.lightning_module))


def _results(trainer: Any) -> Any:
    return trainer.fit_loop.epoch_loop._results
