"""torchmetrics that gather over the steps of an epoch: logged over all ranks, saved for each, put back as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist

from launcher.errors import JobFailed
from launcher.worker import measures
from launcher.worker.events import finite


class Running:
    """One rank's metrics; what each rank's have gathered differs."""

    def __init__(self, find: Callable[[], Mapping[str, Any]] = dict) -> None:
        """`find` gives the metrics by name, each with all that it has gathered."""
        self.find = find

    def reset(self) -> None:
        for measure in self.find().values():
            measure.reset()

    def values(self) -> dict[str, float | None]:
        """Over all ranks, in their order; None for what is no number yet. For all ranks at once."""
        found = self.find()
        if not found:
            return {}
        mine = _states(found)
        reports = of_all_ranks(mine)
        values: dict[str, float | None] = {}
        for name, measure in found.items():
            states = [report[name] for report in reports]
            gathered = any(measures.was_updated(state) for state in states)
            values[name] = finite(measures.compute(name, measure, states)) if gathered else None
            measures.put(measure, [mine[name]])
        return values

    def tree(self) -> list[Any]:
        """For a checkpoint: what each rank's have gathered. For all ranks at once."""
        found = self.find()
        return of_all_ranks(_states(found)) if found else []

    def load(self, tree: list[Any]) -> None:
        """Each rank its own again. With another number of ranks, rank 0 has what all had together, where it can."""
        if not tree:
            return
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for name, measure in self.find().items():
            states = [report[name] for report in tree if name in report]
            if not states:
                continue
            if len(states) == ranks:
                measures.put(measure, [states[rank]])
            elif rank == 0 and measures.can_be_joined(measure):
                measures.put(measure, states)


def of_task(given: Mapping[str, Any], device: torch.device) -> Running:
    """Raises JobFailed for what is no torchmetrics metric."""
    for name, measure in given.items():
        if not measures.is_measure(measure) and not measures.is_collection(measure):
            raise JobFailed(
                f"training_metrics has {name}, a {type(measure).__name__}, which is not a torchmetrics metric",
                hint="give metrics, or collections of them, by name: {'accuracy': MulticlassAccuracy(10)}",
            )
        measure.to(device)
    return Running(lambda: measures.one_by_one(given))


def of_all_ranks(mine: Any) -> list[Any]:
    """What each rank has, in the order of the ranks."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [mine]
    reports: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(reports, mine)
    return reports


def _states(found: Mapping[str, Any]) -> dict[str, measures.State]:
    return {name: measures.gathered(name, measure) for name, measure in found.items()}
