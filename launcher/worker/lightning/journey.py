"""One training by Lightning, from launcher's side: what goes along with it, and what is kept of it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from launcher import checkpoints
from launcher.manifest import step_name
from launcher.worker import epochs, matching, state
from launcher.worker.agreement import of_rank_0
from launcher.worker.checkpoint import Loaded
from launcher.worker.context import Context
from launcher.worker.duties import Duties
from launcher.worker.lightning import gathered
from launcher.worker.lightning.checkpoint import Core, names, put_together, take_apart
from launcher.worker.lightning.given import Flavour
from launcher.worker.lightning.place import place
from launcher.worker.losses import Losses
from launcher.worker.models import share
from launcher.worker.optimization import settle
from launcher.worker.schedule import Schedulers
from launcher.worker.state import State


class Stopped(Exception):
    """The training was asked to stop, and is saved."""


class Journey:
    """What the training needs beside Lightning. Its hooks are called by `callbacks.py`.

    A step is whole when every hook of every callback, its validation and its schedulers have had their turn; the next
    hook after that is the start of the next batch or epoch. So this is where a step is saved, and where a stop ends.
    """

    def __init__(self, context: Context, core: Core, flavour: Flavour) -> None:
        self.context = context
        self.flavour = flavour
        self.core = core
        self.duties: Duties | None = None
        self.loaded: Loaded | None = None
        self.trainer: Any = None
        self.ended = False
        """Whether the module's own callbacks ended it before its last step."""
        self._losses: list[Tensor] = []
        self._rates: dict[str, float] = {}
        self._resumed: Mapping[str, Any] = {}
        """The training state of the checkpoint that is gone on from, until the training starts."""
        self._gathered: Mapping[str, Any] = {}
        self._save = self._protect = self._stop = False

    def replace(self, given: Any) -> epochs.EpochBatches:
        """Read the user's training loader and give launcher's in its place; the step to go on from is known then."""
        if self.duties is None:
            self._begin(epochs.read(given, self.context))
        return self.batches

    def commit(self, checkpoint: Mapping[str, Any]) -> None:
        """Save Lightning's dictionary; called on rank 0, in the turn of `save`."""
        duties = self._there()
        weights, more = take_apart(checkpoint, self.core.prefix)
        duties.commit(weights, {**more, "ended": self.ended, **self._gathered}, protect=self._protect)

    def loaded_checkpoint(self) -> dict[str, Any]:
        """The plan's checkpoint as Lightning's dictionary."""
        self.loaded = self.context.checkpoints.load(cast(str, self.context.plan.resume_from))
        version = self.flavour.part("", "__version__")
        own = put_together(self.loaded.model, self.loaded.training, self.core.prefix)
        return {"pytorch-lightning_version": version, **own}

    def save(self) -> None:
        """On every rank."""
        duties = self._there()
        duties.check_finite()
        self._gathered = gathered.tree(self.trainer)
        root = checkpoints.folder(Path(self.context.plan.run_dir))
        self.trainer.save_checkpoint(str(root / step_name(duties.state.step)))
        self._save = self._protect = False

    def start(self, trainer: Any) -> None:
        """Lightning has put a SIGTERM handler of its own in place, which ends a training in mid-step."""
        self.context.stop.install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        if self._resumed:
            self._check_optimizers(self._resumed["optimizations"])
            self.context.warn(gathered.put(trainer, self._resumed))
            self._resumed = {}
        for optimizer in trainer.optimizers:
            settle(optimizer, self.context.plan)
        if self._there().state.stops_early:
            trainer.should_stop = True

    def clean_point(self) -> None:
        if self._save or self._stop:
            self.save()
        if self._stop:
            raise Stopped

    def batch_start(self, trainer: Any, batch_idx: int) -> None:
        self.clean_point()
        duties = self._there()
        if batch_idx % duties.timetable.accumulate == 0:
            duties.begin_step()
            self._losses = []
            self._share_buffers()
            if duties.timetable.logs(duties.state.step):
                self._rates = _rates(trainer)

    def batch_end(self, trainer: Any, outputs: Any, batch_idx: int) -> None:
        duties = self._there()
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._losses.append(loss.detach().reshape(()))
        if (batch_idx + 1) % duties.timetable.accumulate:
            return
        step = duties.state.step
        logs = duties.timetable.logs(step)
        if self._losses:
            scalars = {"loss": torch.stack(self._losses).sum() if len(self._losses) > 1 else self._losses[0]}
            duties.end_step({**scalars, **(_logged(trainer, self.context.device) if logs else {})})
        self._save = self._save or duties.timetable.saves(step)
        stop = self.context.stop
        self._stop = stop.asked and stop.now(step)
        if step >= duties.timetable.total_steps:
            trainer.should_stop = True

    def validation_start(self) -> None:
        self._share_buffers()

    def validation_end(self, trainer: Any) -> None:
        duties = self._there()
        values = {name: float(value) for name, value in _validated(trainer).items() if value.numel() == 1}
        self._protect = duties.validated(of_rank_0(values))
        self._save = self._save or self._protect
        if duties.state.stops_early:
            trainer.should_stop = True

    def _begin(self, source: epochs.Source) -> None:
        context = self.context
        times = source.timetable(context)
        batches = source.batches(times, context)
        best, early_stop = state.bests(context.plan)
        duties = self.duties = Duties(
            context=context,
            timetable=times,
            batches=batches,
            models=self.core,
            state=State(context.plan, times.samples, {}, Schedulers({}), best, early_stop),
            losses=Losses(context),
            rates=lambda: self._rates,
        )
        if self.loaded is not None:
            duties.resumed(self.loaded.step, self.loaded.epoch, self.loaded.training)
            own = self.loaded.training.get("lightning", {"rest": {}})["rest"]
            place(self.trainer.fit_loop, times, self.loaded.step, own.get("global_step", self.loaded.step))
            self._resumed = self.loaded.training
            self.loaded = None
        duties.open_metrics()
        self.batches = epochs.EpochBatches(batches, duties, context)
        context.listen()

    def _check_optimizers(self, resumed: Mapping[str, Any]) -> None:
        """Lightning has given each optimizer the state of its place, and asked no further."""
        optimizers = dict(zip(names(len(self.trainer.optimizers)), self.trainer.optimizers, strict=True))
        saved = matching.matched(resumed, optimizers, "optimizer")
        for name, each in optimizers.items():
            matching.check_shapes(name, each, saved[name]["optimizer"])
        self.context.warn(matching.taken_in_order(resumed, optimizers))

    def _there(self) -> Duties:
        return cast(Duties, self.duties)

    def _share_buffers(self) -> None:
        if self.context.world_size > 1:  # the live ones: Lightning moves the module and may convert its layers
            share(buffer for module in self.core.by_name.values() for buffer in module.buffers())


def _rates(trainer: Any) -> dict[str, float]:
    optimizers = trainer.optimizers
    rates = [float(each.param_groups[0]["lr"]) for each in optimizers]
    return {"lr" if len(rates) == 1 else f"lr.{number}": rate for number, rate in enumerate(rates)}


def _logged(trainer: Any, device: torch.device) -> dict[str, Tensor]:
    """What the module logged in this step; means over an epoch are not of the step."""
    values = trainer.fit_loop.epoch_loop._results.metrics(on_step=True)["log"]
    return {
        name: value.detach().reshape(()).to(device)
        for name, value in sorted(values.items())
        if isinstance(value, Tensor) and value.numel() == 1 and name != "loss"
    }


def _validated(trainer: Any) -> dict[str, Tensor]:
    values = trainer.fit_loop.epoch_loop.val_loop._results.metrics(on_step=False)["callback"]
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
