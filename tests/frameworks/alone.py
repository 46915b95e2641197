"""A framework alone, as its own documentation has it: called in a fork of the bench's process, returns its result.

Lightning's and Ignite's checkpoints are named `…<step>.<suffix>`; each function goes on from the newest in its folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as lightning
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from ignite.utils import manual_seed
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from launcher.plan import Plan
from launcher.worker import seeding, timetable
from launcher.worker.batches import TrainingBatches
from launcher.worker.digest import weights_sha256
from launcher.worker.lightning.checkpoint import Core
from launcher.worker.saved import Saved
from tests.frameworks import measured, parts

EPOCHS = 2
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def by_lightning(folder: str) -> dict[str, Any]:
    """`seed_everything`, ModelCheckpoint, and `ckpt_path`."""
    lightning.seed_everything(1)
    model = measured.Module()
    keep = ModelCheckpoint(folder, every_n_train_steps=3, save_top_k=-1)
    trainer = lightning.Trainer(max_epochs=EPOCHS, callbacks=[keep], **QUIET)
    last = parts.newest(folder)
    trainer.fit(model, ckpt_path=last and str(last[1]))
    return {"digest": weights_sha256(model.state_dict())}


def by_ignite(folder: str, deterministic: bool = False) -> dict[str, Any]:
    """`manual_seed`, the Checkpoint handler, and `load_objects`."""
    manual_seed(1)
    given = measured.engine(deterministic=deterministic)
    trainer, to_save = given["trainer"], {**given["to_save"], "trainer": given["trainer"]}
    keep = Checkpoint(to_save, DiskSaver(folder, require_empty=False), n_saved=None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), keep)
    if last := parts.newest(folder):
        Checkpoint.load_objects(to_save, torch.load(last[1], weights_only=False))
    trainer.run(given["data"], max_epochs=EPOCHS)
    return {"digest": weights_sha256(to_save["model"].state_dict())}


def example(name: str, plan: dict[str, Any], folder: str) -> dict[str, Any]:
    """One of the examples, its batches in launcher's order and with launcher's draws: these alone differ by right."""
    decided = Plan.from_json(plan)
    torch.set_num_threads(decided.threads)
    seeding.seed_all(seeding.mix(decided.spec.training.seed, seeding.WEIGHTS), torch.device("cpu"))
    given = importlib.import_module(f"tests.frameworks.examples.{name}").build()
    of = _example_of_ignite if isinstance(given, dict) and "trainer" in given else _example_of_lightning
    loss, weights = of(given, decided, folder)
    return {"loss": loss, "digest": weights_sha256(weights)}


class InLaunchersOrder:
    def __init__(self, loader: Any, plan: Plan) -> None:
        self._seed = plan.spec.training.seed
        self._times = timetable.make(plan, len(loader.dataset))
        self._batches = TrainingBatches(loader.dataset, self._times, self._seed, rank=0)
        self._done = 0

    def __len__(self) -> int:
        return self._times.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        for _ in range(len(self)):
            batch = self._batches[self._done]
            self._done += 1
            seeding.seed_all(seeding.mix(self._seed, seeding.STEP, self._done, 0, 0), torch.device("cpu"))
            yield batch


def _example_of_lightning(given: Any, plan: Plan, folder: str) -> tuple[float, dict[str, Any]]:
    given = given if isinstance(given, dict) else {"model": given}
    model, losses = given["model"], []

    class Losses(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(outputs["loss"]))

    callbacks = [*given.get("callbacks", []), Losses()]
    trainer = lightning.Trainer(max_epochs=EPOCHS, default_root_dir=folder, callbacks=callbacks, **QUIET)
    validation = model.val_dataloader() if "val_dataloader" in vars(type(model)) else None
    trainer.fit(model, InLaunchersOrder(model.train_dataloader(), plan), validation)
    return losses[-1], Core(model).weights()


def _example_of_ignite(given: dict[str, Any], plan: Plan, folder: str) -> tuple[float, dict[str, Any]]:
    trainer, data = given["trainer"], InLaunchersOrder(given["data"], plan)
    trainer.run(data, max_epochs=EPOCHS, epoch_length=len(data))
    output = trainer.state.output
    to_save = {name: each for name, each in given["to_save"].items() if not isinstance(each, Engine)}
    return output["loss"] if isinstance(output, dict) else output, Saved(to_save, plan, given_to="").models.weights()
