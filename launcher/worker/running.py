"""torchmetrics that gather over the steps of an epoch: logged over all ranks, saved for each, put back as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist

from launcher.errors import JobFailed
from launcher.worker import measures
from launcher.worker.agreement import of_all_ranks
from launcher.worker.events import finite

OTHER_RANKS = "they were gathered on another number of processes"


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

    def load(self, tree: list[Any]) -> list[str]:
        """Each rank its own again. With another number of ranks, rank 0 has what all had together, where it can.

        Returns what to warn of.
        """
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        lost = []
        for name, measure in self.find().items() if tree else ():
            states = [report[name] for report in tree if name in report]
            if len(states) == ranks:
                measures.put(measure, [states[rank]])
            elif not measures.can_be_joined(measure):
                lost += [name] if any(measures.was_updated(state) for state in states) else []
            elif rank == 0 and states:
                measures.put(measure, states)
        return begun_anew(lost, OTHER_RANKS)


def of_task(given: Mapping[str, Any], device: torch.device) -> Running:
    """Raises JobFailed for what is no torchmetrics metric."""
    for name, measure in given.items():
        if not measures.is_measure(measure) and not measures.is_collection(measure):
            raise JobFailed(
                f"training_metrics has {name}, a {type(measure).__name__}, which is not a torchmetrics metric",
                hint="give metrics, or collections of them, by name: {'accuracy': MulticlassAccuracy(10)}",
            )
        measure.to(device)
    for name, measure in measures.one_by_one(given).items():
        measures.check_computes_alone(name, measure)
    return Running(lambda: measures.one_by_one(given))


def begun_anew(names: Iterable[str], why: str) -> list[str]:
    """A warning, where there are any, of metrics of which a checkpoint holds nothing to go on from."""
    listed = ", ".join(sorted(names))
    return [f"metrics that begin anew in mid-epoch, for {why}: {listed}"] if listed else []


def _states(found: Mapping[str, Any]) -> dict[str, measures.State]:
    return {name: measures.gathered(measure) for name, measure in found.items()}
