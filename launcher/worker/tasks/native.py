"""The native task: the target returns its parts, and launcher's own loop trains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch.distributed as dist
from torch.optim import Optimizer

from launcher.errors import JobFailed, RequestError
from launcher.plan import Plan
from launcher.store import RunFolder
from launcher.task import Task
from launcher.worker import numerics, samples, seeding, state, steps, target, timetable, validation
from launcher.worker.batches import Stream, TrainingBatches
from launcher.worker.context import Context, Outcome
from launcher.worker.digest import weights_sha256
from launcher.worker.loop import Loop
from launcher.worker.losses import Losses
from launcher.worker.metrics import MetricsFile
from launcher.worker.models import Models
from launcher.worker.optimization import Optimization
from launcher.worker.schedule import Schedule
from launcher.worker.state import State
from launcher.worker.stop import Store


def run(context: Context) -> Outcome:
    """Train the job's target to its end, or until it is asked to stop; the last state is saved either way."""
    numerics.configure(context.plan)
    task = _build(context)
    loop = _prepare(task, context)
    context.kept.append(loop)
    _resume(loop, context)
    microbatches = Stream(
        loop.batches, loop.batches.remaining(loop.state.step), context.plan, pin_memory=context.device.type == "cuda"
    )
    if context.world_size > 1:
        context.stop.listen(cast(Store, dist.distributed_c10d._get_default_store()))
    stopped = loop.run(iter(microbatches))
    return _outcome(loop, context, stopped)


def _build(context: Context) -> Task:
    """Every rank builds the same task: the weights follow from the seed alone."""
    plan = context.plan
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    task = target.call(plan.spec.task, Path(plan.job_dir))
    if not isinstance(task, Task):
        raise JobFailed(
            f"task.target {plan.spec.task.target} returned {type(task).__name__}, not a Task",
            hint="end the function with `return Task(model=…, optimizer=…, data=…, loss=…)`, from launcher import Task",
        )
    return task


def _prepare(task: Task, context: Context) -> Loop:
    plan = context.plan
    times = timetable.make(plan, samples.count(task.data, "data"))
    models = Models(task.model, context)
    optimizations = {name: Optimization(each, plan) for name, each in _optimizers(task).items()}
    best, early_stop = state.bests(plan)
    checks = validation.make(task, models, context)
    _check_metrics_exist(plan, checks is not None)
    return Loop(
        context=context,
        timetable=times,
        batches=TrainingBatches(task.data, times, context.seed, context.rank, task.collate),
        take_step=steps.make(task, models, optimizations, context),
        models=models,
        state=State(plan, times.samples, optimizations, Schedule(task, times), best, early_stop),
        losses=Losses(context),
        validation=checks,
        metrics=None,
    )


def _optimizers(task: Task) -> Mapping[str, Optimizer]:
    return {"optimizer": task.optimizer} if isinstance(task.optimizer, Optimizer) else task.optimizer


def _check_metrics_exist(plan: Plan, validates: bool) -> None:
    for key, wish in (("checkpoint.best", plan.spec.checkpoint.best), ("early_stop", plan.spec.early_stop)):
        if wish is not None and not validates:
            raise RequestError(
                f"{key} follows the metric {wish.metric!r}, and the task does not validate",
                hint="give the Task `validation` and `metrics`, or take the setting out",
            )


def _resume(loop: Loop, context: Context) -> None:
    """Go on from the plan's checkpoint, if it names one, with the metrics as they were then."""
    plan = context.plan
    if plan.resume_from is not None:
        loaded = context.checkpoints.load_into(plan.resume_from, loop.models.weights())
        changes = loop.state.load(loaded.step, loaded.training)
        context.step, context.epoch = loaded.step, loaded.epoch
        if context.rank == 0:
            context.events.emit("resumed", step=loaded.step, name=plan.resume_from)
            for change in changes:
                context.events.emit("warning", text=f"resumed under other conditions: {change}; the bits will differ")
    if context.rank == 0:
        path = RunFolder(Path(plan.run_dir)).metrics
        loop.metrics = MetricsFile(path, step=loop.state.step, validated=loop.state.validated)


def _outcome(loop: Loop, context: Context, stopped: bool) -> Outcome:
    """Wait for the last checkpoint, whose writing the digest's computing goes along with."""
    done = context.rank == 0 and not stopped
    digest = weights_sha256(loop.models.weights()) if done else None
    context.checkpoints.wait()
    if loop.metrics:
        loop.metrics.sync()
        loop.metrics.close()
    step = loop.state.step
    return Outcome(
        step=step,
        epoch=loop.timetable.epoch(step) if step else 0,
        metrics=dict(loop.state.latest),
        checkpoint=context.checkpoints.newest,
        weights_sha256=digest,
        stopped=stopped,
    )
