"""What the metrics on an engine gather over an epoch or a training, kept through a kill.

Ignite begins them anew whenever an engine is run, and with each epoch: so they are put back after that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric

from launcher.worker.running import OTHER_RANKS, begun_anew


def tree(trainer: Engine) -> dict[str, Any]:
    """For a checkpoint, of every rank. For all ranks at once."""
    states = {}
    for name, metric in _attached(trainer).items():
        with contextlib.suppress(TypeError, ValueError):  # of a metric that Ignite itself cannot save
            states[name] = metric.state_dict() if metric._state_dict_all_req_keys else None
    return {"metrics": states}


def put_back(trainer: Engine, training: Mapping[str, Any], ranks: int, *, within_epoch: bool) -> list[str]:
    """Let the engine's next run go on from what a checkpoint holds, if it was made on as many ranks.

    Returns what to warn of.
    """
    kept = {name: each for name, each in training.get("metrics", {}).items() if each is not None}
    states = kept if training["conditions"]["world_size"] == ranks else {}

    def put(_engine: Engine) -> None:
        for name, metric in _attached(trainer).items():
            if name in states:
                metric.load_state_dict(states[name])

    def put_within_epoch(engine: Engine) -> None:
        put(engine)
        trainer.remove_event_handler(put_within_epoch, Events.EPOCH_STARTED)

    trainer.add_event_handler(Events.STARTED, put)
    if not within_epoch or "metrics" not in training:
        return []
    trainer.add_event_handler(Events.EPOCH_STARTED, put_within_epoch)
    attached = _attached(trainer).keys()
    unsaved = begun_anew(attached - kept.keys(), "Ignite cannot save what they gather (`_state_dict_all_req_keys`)")
    return [*unsaved, *begun_anew(attached & (kept.keys() - states.keys()), OTHER_RANKS)]


def _attached(trainer: Engine) -> dict[str, Metric]:
    """By the name that each has in `engine.state.metrics`: what its handler `completed` is given."""
    return {
        str(arguments[-1]): handler.__self__
        for handlers in trainer._event_handlers.values()
        for handler, arguments, _ in handlers
        if isinstance(getattr(handler, "__self__", None), Metric) and handler.__name__ == "completed" and arguments
    }
