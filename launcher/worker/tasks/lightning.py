"""The lightning task: the target's LightningModule, trained by Lightning's own Trainer."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from torch import nn

from launcher import checkpoints
from launcher.worker import network, numerics, seeding, state, target
from launcher.worker.context import Context, Outcome
from launcher.worker.lightning.callbacks import callbacks
from launcher.worker.lightning.checkpoint import Core, checkpoint_io
from launcher.worker.lightning.given import Given, understand
from launcher.worker.lightning.journey import Journey, Stopped
from launcher.worker.lightning.trainer import arguments


def run(context: Context) -> Outcome:
    """Train to the end, or until it is asked to stop; then test, where the module has a test."""
    plan = context.plan
    numerics.configure(plan)
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    given = understand(target.call(plan.spec.task, Path(plan.job_dir)), plan.spec.task)
    state.check_metrics_exist(plan, given.has("validation_step"), "give the module a validation_step that logs it")
    network.arrange(given.model, plan)
    network.compile(_networks(given.model), plan)
    journey = Journey(context, Core(given.model), given.flavour)
    trainer = journey.trainer = _trainer(given, context, journey)
    context.kept.append(trainer)
    stopped = _fit(trainer, given, context, journey)
    assert journey.duties is not None  # noqa: S101  (fit has asked for the training loader)
    if not stopped:
        journey.ended = journey.duties.state.step < journey.duties.timetable.total_steps
        journey.save()
        if given.tests():
            trainer.test(given.model, dataloaders=given.test_dataloaders, datamodule=given.datamodule)
    return journey.duties.outcome(stopped=stopped)


def _trainer(given: Given, context: Context, journey: Journey) -> Any:
    flavour = given.flavour
    environment = flavour.part("plugins.environments", "TorchElasticEnvironment")()
    plugins = [environment, checkpoint_io(flavour, journey)]
    options = arguments(given, context, plugins)
    return flavour.part("", "Trainer")(callbacks=callbacks(flavour, journey, given.callbacks), **options)


def _networks(module: nn.Module) -> list[nn.Module]:
    """What the module calls: not itself, for its steps log, which cannot be compiled."""
    found: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            found += _networks(child)
        elif next(child.parameters(), None) is not None:
            found.append(child)
    return found


def _fit(trainer: Any, given: Given, context: Context, journey: Journey) -> bool:
    """Whether it was stopped before its end."""
    plan = context.plan
    resume = plan.resume_from and str(checkpoints.folder(Path(plan.run_dir)) / plan.resume_from)
    data = _with_our_loader(given, journey)
    # Until the training starts, and with it our handler again, a SIGTERM waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        trainer.fit(given.model, ckpt_path=resume, **data)
    except Stopped:
        return True
    finally:
        context.stop.install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    return False


def _with_our_loader(given: Given, journey: Journey) -> dict[str, Any]:
    """The data as `fit` takes them. Training batches are asked for only when Lightning has loaded the checkpoint."""
    owner = given.model if given.datamodule is None else given.datamodule
    theirs = owner.train_dataloader if given.train_dataloaders is None else lambda: given.train_dataloaders

    def train_dataloader() -> Any:
        return journey.replace(theirs())

    owner.train_dataloader = train_dataloader
    return {"datamodule": given.datamodule, "val_dataloaders": given.val_dataloaders}
