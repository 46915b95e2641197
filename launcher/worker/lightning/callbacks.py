"""The callbacks through which Lightning tells a journey where its training is."""

from __future__ import annotations

from typing import Any

from launcher.heartbeat import BETWEEN
from launcher.worker import fused
from launcher.worker.lightning.given import Flavour
from launcher.worker.lightning.journey import Journey


def callbacks(flavour: Flavour, journey: Journey, theirs: list[Any]) -> list[Any]:
    """Two of ours around the user's: the first acts before any of them, the last sees what all of them have logged."""
    base = flavour.part("callbacks", "Callback")

    class First(base):  # type: ignore[misc, valid-type]  # the flavour's class
        def setup(self, trainer: Any, _module: Any, stage: str) -> None:
            trainer.callbacks.remove(last)  # the module may have brought more
            trainer.callbacks.append(last)

        def on_fit_start(self, trainer: Any, _module: Any) -> None:
            for optimizer in trainer.optimizers:  # as they were built: their state comes after this
                fused.keep(optimizer)

        def on_train_start(self, trainer: Any, _module: Any) -> None:
            journey.start(trainer)

        def on_train_epoch_start(self, _trainer: Any, _module: Any) -> None:
            journey.clean_point()

        def on_train_batch_start(self, trainer: Any, _module: Any, _batch: Any, batch_idx: int) -> None:
            journey.batch_start(trainer, batch_idx)

        def on_validation_start(self, _trainer: Any, _module: Any) -> None:
            journey.validation_start()

        def on_validation_batch_end(self, *_: Any) -> None:
            journey.context.heart.beat(journey.context.step, BETWEEN)

    class Last(base):  # type: ignore[misc, valid-type]  # the flavour's class
        def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, _batch: Any, batch_idx: int) -> None:
            journey.batch_end(trainer, outputs, batch_idx)

        def on_validation_end(self, trainer: Any, _module: Any) -> None:
            if not trainer.sanity_checking:
                journey.validation_end(trainer)

    last = Last()
    return [First(), *theirs, last]
