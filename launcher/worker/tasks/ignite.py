"""The ignite task: the target's engine, or one made of the target's parts, run by Ignite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import LRScheduler

from launcher.errors import RequestError
from launcher.heartbeat import BETWEEN
from launcher.worker import epochs, numerics, seeding, state, target
from launcher.worker.context import Context, Outcome
from launcher.worker.ignite import supervised
from launcher.worker.ignite.course import Course
from launcher.worker.ignite.given import OwnEngine, Parts, understand
from launcher.worker.models import Models
from launcher.worker.saved import Saved


def run(context: Context) -> Outcome:
    """Run the engine to its end, or until it is asked to stop; the last state is saved either way."""
    plan = context.plan
    numerics.configure(plan)
    seeding.seed_all(seeding.mix(context.seed, seeding.WEIGHTS), context.device)
    given = understand(target.call(plan.spec.task, Path(plan.job_dir)), plan)
    course = _of_engine(given, context) if isinstance(given, OwnEngine) else _of_parts(given, context)
    context.kept.append(course)
    return course.run()


def _of_engine(given: OwnEngine, context: Context) -> Course:
    plan = context.plan
    state.check_metrics_exist(plan, bool(given.evaluators), "return the engine that validates among `evaluators`")
    to_save = {name: each for name, each in given.to_save.items() if not isinstance(each, Engine)}
    saved = Saved(to_save, plan, given_to="to_save")
    if not saved.models.by_name:
        raise RequestError("to_save holds no model", hint="return {'to_save': {'model': model, 'optimizer': …}, …}")
    for each in saved.optimizations.values():
        each.clip_before_every_step()
    source = epochs.read(given.data, context)
    course = Course(given.trainer, source, saved, context, saved.models)
    for name, evaluator in given.evaluators.items():
        _listen(course, evaluator, "" if len(given.evaluators) == 1 else f"{name}_")
    return course


def _of_parts(parts: Parts, context: Context) -> Course:
    plan = context.plan
    state.check_metrics_exist(plan, bool(parts.metrics), "return `validation` and `metrics` too")
    source = epochs.read(parts.data, context)
    models = Models(parts.model, context)
    scheduler = _scheduler(parts, source.timetable(context).total_steps)
    given: dict[str, Any] = {"model": parts.model, "optimizer": models.followed_by(parts.optimizer)}
    saved = Saved({**given, **({"scheduler": scheduler} if scheduler is not None else {})}, plan, given_to="the target")
    (optimization,) = saved.optimizations.values()
    trainer = supervised.trainer(parts, models, optimization, scheduler, context)
    if parts.attach is not None:
        parts.attach(trainer)
    course = Course(trainer, source, saved, context, models)
    if parts.validation is not None and parts.metrics:
        evaluation = supervised.Evaluation(parts, models, context)
        _listen(course, evaluation.engine, "")
        course.validate = evaluation.run
    return course


def _scheduler(parts: Parts, total_steps: int) -> Any:
    given = parts.scheduler
    return given if given is None or isinstance(given, LRScheduler) else given(total_steps)


def _listen(course: Course, evaluator: Engine, prefix: str) -> None:
    context = course.duties.context

    @evaluator.on(Events.ITERATION_COMPLETED)
    def move(_engine: Engine) -> None:
        context.heart.beat(context.step, BETWEEN)

    @evaluator.on(Events.COMPLETED)
    def tell(engine: Engine) -> None:
        course.validated({f"{prefix}{name}": value for name, value in engine.state.metrics.items()})
