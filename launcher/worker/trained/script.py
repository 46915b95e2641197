"""A script's models. The program is run twice: up to `script.load`, which names them, and up to their first call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from launcher.errors import RequestError
from launcher.worker.context import Context
from launcher.worker.saved import Saved
from launcher.worker.session import Session
from launcher.worker.tasks import script
from launcher.worker.trained import Built
from launcher.worker.trained.batch import first


def build(context: Context) -> Built:
    found: list[Saved] = []

    def name(saved: Saved) -> None:
        found.append(saved)
        raise _Loaded

    _look(context, name)
    if not found or not found[0].models.by_name:
        raise RequestError(
            f"the script {context.plan.spec.task.target} names no model, so there is none to take",
            hint="script.load(model=model), before its steps, names it",
        )
    models = found[0].models

    def use() -> None:
        def forward(again: Saved) -> None:
            for name, module in again.models.by_name.items():
                module.register_forward_pre_hook(_handing_on(models.by_name[name]), with_kwargs=True, prepend=True)

        _look(context, forward)

    return Built(models=models.by_name, weights=models, use=use)


class _Loaded(BaseException):
    """The program has said what its models are."""


class _Looking(Session):
    """A session in which the program is only looked at: it goes on from nothing and writes nothing."""

    def __init__(self, context: Context, loaded: Callable[[Saved], None]) -> None:
        super().__init__(context)
        self._loaded = loaded

    def load(self, objects: Mapping[str, Any]) -> int:
        self._loaded(Saved(objects, self.context.plan, given_to="script.load"))
        return 0

    def steps(self, data: Dataset[Any] | None, collate: Callable[[list[Any]], Any] | None) -> Iterator[tuple[int, Any]]:
        yield 1, [None if data is None else first(data, collate, self.context)]

    def validates(self) -> bool:
        return True

    def log(self, *_: Any) -> None:
        pass

    def save(self, *, protect: bool = False) -> None:
        pass

    def should_stop(self) -> bool:
        return True


def _look(context: Context, loaded: Callable[[Saved], None]) -> None:
    """Run the program until it is known what was asked. What it ends itself with before that is its own affair."""
    before = sys.argv, sys.modules["__main__"]
    try:
        script.execute(_Looking(context, loaded))
    except (_Loaded, SystemExit):
        pass
    finally:
        sys.argv, sys.modules["__main__"] = before
        script.session = None


def _handing_on(module: nn.Module) -> Callable[..., None]:
    def hand_on(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        module(*args, **kwargs)

    return hand_on
