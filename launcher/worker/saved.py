"""The objects that make up a program's state, given by name: what is weights, what an optimizer, what else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from launcher.errors import JobFailed
from launcher.plan import Plan
from launcher.worker.measures import is_collection, is_measure, of_module
from launcher.worker.models import Weights
from launcher.worker.optimization import Optimization
from launcher.worker.running import Running
from launcher.worker.schedule import Schedulers

Named = TypeVar("Named")


class Saved:
    """Each kind of object under the names that every kind of task gives it: so a checkpoint of one fits another."""

    def __init__(self, objects: Mapping[str, Any], plan: Plan, *, given_to: str) -> None:
        """Raises JobFailed for an object without a state; `given_to` says where it was given, for the message."""
        self._objects = {name: _unwrapped(each) for name, each in objects.items()}
        for name, each in self._objects.items():
            if not callable(getattr(each, "state_dict", None)):
                raise JobFailed(
                    f"{given_to} was given {name}, a {type(each).__name__}, which has no state_dict()",
                    hint="give models, optimizers, schedulers, or any object with state_dict and load_state_dict",
                )
        metrics = {name: each for name, each in self._objects.items() if is_measure(each) or is_collection(each)}
        self.running = Running(lambda: _by_path(metrics))
        models = {name: each for name, each in self._of(nn.Module).items() if name not in metrics}
        self.models = Weights(_renamed_if_alone(models, ""))
        self.schedulers = Schedulers(self._of(LRScheduler))
        self.optimizations = {
            name: Optimization(each, plan) for name, each in _renamed_if_alone(self._of(Optimizer), "optimizer").items()
        }
        known = (nn.Module, Optimizer, LRScheduler)
        self.others = {name: each for name, each in self._objects.items() if not isinstance(each, known)}

    def tree(self) -> dict[str, Any]:
        """What a checkpoint holds of the other objects, beside the common state. For all ranks at once."""
        objects = {name: each.state_dict() for name, each in self.others.items()}
        return {"objects": objects, "running": self.running.tree()}

    def load(self, training: Mapping[str, Any] | None) -> list[str]:
        """Put the other objects back; another kind's checkpoint, or a new run, has none. Returns what to warn of."""
        states = (training or {}).get("objects", {})
        for name, each in self.others.items():
            if name in states:
                each.load_state_dict(states[name])
        return self.running.load((training or {}).get("running", []))

    def _of(self, kind: type[Named]) -> dict[str, Named]:
        return {name: each for name, each in self._objects.items() if isinstance(each, kind)}


def _by_path(given: Mapping[str, nn.Module]) -> dict[str, Any]:
    """The metrics in each, after its name: `scores.accuracy`."""
    return {
        ".".join(filter(None, (name, path))): one
        for name, each in given.items()
        for path, one in of_module(each).items()
    }


def _renamed_if_alone(found: dict[str, Named], name: str) -> dict[str, Named]:
    return {name if len(found) == 1 else own: each for own, each in found.items()}


def _unwrapped(given: Any) -> Any:
    return given.module if isinstance(given, DistributedDataParallel) else given
