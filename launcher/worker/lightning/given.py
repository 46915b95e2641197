"""What a Lightning target gave: a module, and what else its author would pass to the Trainer and to `fit`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import JobFailed
from launcher.spec import TaskSpec
from launcher.worker.target import mistaken

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
KEYS = (
    *("model", "datamodule", "train_dataloaders", "val_dataloaders", "test_dataloaders"),
    *("callbacks", "logger"),
)


@dataclass(frozen=True)
class Flavour:
    """One of Lightning's two names: `lightning.pytorch` or `pytorch_lightning`."""

    package: str

    def part(self, path: str, name: str) -> Any:
        """A class of its: `part("callbacks", "Callback")`."""
        return getattr(importlib.import_module(f"{self.package}.{path}" if path else self.package), name)


@dataclass(frozen=True, kw_only=True)
class Given:
    flavour: Flavour
    model: Any
    datamodule: Any = None
    train_dataloaders: Any = None
    val_dataloaders: Any = None
    test_dataloaders: Any = None
    callbacks: list[Any] = field(default_factory=list)
    logger: Any = False

    def has(self, method: str) -> bool:
        """Whether the module writes this method itself."""
        return self._writes(self.model, "LightningModule", method)

    def tests(self) -> bool:
        """Whether there is a test, and something to test with."""
        if self.datamodule is not None:
            data = self._writes(self.datamodule, "LightningDataModule", "test_dataloader")
        else:
            data = self.test_dataloaders is not None or self.has("test_dataloader")
        return data and self.has("test_step")

    def _writes(self, value: Any, base: str, method: str) -> bool:
        return getattr(type(value), method, None) is not getattr(self.flavour.part("", base), method, None)


def understand(returned: Any, task: TaskSpec) -> Given:
    """Raises RequestError or JobFailed, saying what it is instead, for what cannot be trained by Lightning."""
    parts = _parts(returned, task)
    model = parts.get("model")
    flavour = _flavour(model)
    if flavour is None:
        raise mistaken(task, model if parts.keys() == {"model"} else returned)
    if unknown := sorted(parts.keys() - set(KEYS)):
        raise JobFailed(
            f"task.target {task.target} returned {unknown[0]!r}, which launcher does not pass on to Lightning",
            hint=f"it takes {', '.join(KEYS)}",
        )
    callbacks = parts.pop("callbacks", None) or []
    given = Given(flavour=flavour, callbacks=list(callbacks) if isinstance(callbacks, list) else [callbacks], **parts)
    if not given.has("training_step"):
        raise JobFailed(
            f"{type(model).__name__} has no training_step", hint="Lightning trains a module by its training_step(batch)"
        )
    return given


def _parts(returned: Any, task: TaskSpec) -> dict[str, Any]:
    """As keywords: `model`, `(model, datamodule)`, `(model, train loader[, val loader])`, or a dict of KEYS."""
    if isinstance(returned, Mapping) and "model" in returned:
        return dict(returned)
    if not isinstance(returned, tuple):
        return {"model": returned}
    model, *rest = returned
    if len(rest) == 1 and _class_of(rest[0], "LightningDataModule") is not None:
        return {"model": model, "datamodule": rest[0]}
    return {"model": model, **dict(zip(("train_dataloaders", "val_dataloaders"), rest, strict=False))}


def _flavour(model: Any) -> Flavour | None:
    base = _class_of(model, "LightningModule")
    return Flavour(base) if base is not None else None


def _class_of(value: Any, name: str) -> str | None:
    """The package that this base class of the value comes from."""
    for base in type(value).__mro__:
        for package in PACKAGES:
            if base.__name__ == name and base.__module__.startswith(f"{package}."):
                return package
    return None
