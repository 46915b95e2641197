"""The native task: the target returns its parts, and launcher's own loop trains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.optim import Optimizer

from launcher.task import Task
from launcher.worker import numerics, running, samples, seeding, state, steps, target, timetable, transfer, validation
from launcher.worker.batches import Stream, TrainingBatches
from launcher.worker.context import Context, Outcome
from launcher.worker.duties import Duties
from launcher.worker.loop import Loop
from launcher.worker.losses import Losses
from launcher.worker.models import Models
from launcher.worker.optimization import Optimization, learning_rates
from launcher.worker.schedule import Schedule
from launcher.worker.state import State


def run(context: Context) -> Outcome:
    """Train the job's target to its end, or until it is asked to stop; the last state is saved either way."""
    numerics.configure(context.plan)
    task = _build(context)
    loop, batches = _prepare(task, context)
    context.kept.append(loop)
    loop.duties.resume()
    remaining = batches.remaining(loop.duties.state.step)
    microbatches = Stream(batches, remaining, context.plan, pin_memory=context.plan.levers.pin)
    context.listen()
    stopped = loop.run(transfer.ahead(iter(microbatches), context))
    return loop.duties.outcome(stopped=stopped)


def _build(context: Context) -> Task:
    """Every rank builds the same task: the weights follow from the seed alone."""
    plan = context.plan
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    task = target.call(plan.spec.task, Path(plan.job_dir))
    if not isinstance(task, Task):
        raise target.mistaken(plan.spec.task, task)
    return task


def _prepare(task: Task, context: Context) -> tuple[Loop, TrainingBatches]:
    plan = context.plan
    times = timetable.make(plan, samples.count(task.data, "data"))
    models = Models(task.model, context)
    optimizations = {name: Optimization(models.followed_by(each), plan) for name, each in _optimizers(task).items()}
    schedule = Schedule(task, times)
    best, early_stop = state.bests(plan)
    checks = validation.make(task, models, context)
    state.check_metrics_exist(plan, checks is not None, "give the Task `validation` and `metrics`")
    batches = TrainingBatches(task.data, times, context.seed, context.rank, task.collate)
    duties = Duties(
        context=context,
        timetable=times,
        batches=batches,
        models=models,
        state=State(plan, times.samples, optimizations, schedule, best, early_stop),
        losses=Losses(context),
        rates=lambda: learning_rates(optimizations),
        running=running.of_task(task.training_metrics, context.device),
    )
    return Loop(duties, steps.make(task, models, optimizations, context), schedule, checks), batches


def _optimizers(task: Task) -> Mapping[str, Optimizer]:
    return {"optimizer": task.optimizer} if isinstance(task.optimizer, Optimizer) else task.optimizer
