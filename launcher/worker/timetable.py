"""Which samples, epoch and duties belong to a step: arithmetic only.

Steps and epochs count from 1. The samples of an epoch fill as many whole batches as they can; what is left makes a
shorter last step, rounded down to a multiple of processes × microbatches so that all processes always have the same
number of samples. Fewer than processes × microbatches samples of an epoch are left out, other ones each time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from launcher.errors import RequestError
from launcher.plan import Plan
from launcher.spec import Interval


@dataclass(frozen=True)
class Timetable:
    samples: int
    batch_size: int
    world_size: int
    accumulate: int
    total_steps: int
    steps_per_epoch: int
    validate_every: Interval
    save_every: Interval
    log_every: int

    def epoch(self, step: int) -> int:
        return (step - 1) // self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0

    def validates(self, step: int) -> bool:
        return self._due(self.validate_every, step)

    def saves(self, step: int) -> bool:
        return self._due(self.save_every, step)

    def logs(self, step: int) -> bool:
        return self._due(self.log_every, step)

    def microbatch(self, step: int) -> int:
        """Samples of one process in one microbatch of the step."""
        whole = self.samples // self.batch_size
        within = (step - 1) % self.steps_per_epoch
        batch = self.batch_size if within < whole else self.samples % self.batch_size
        return batch // (self.world_size * self.accumulate)

    def position(self, step: int, microstep: int, rank: int) -> int:
        """Where in its epoch's order the microbatch of a process begins."""
        each = self.microbatch(step)
        begin = (step - 1) % self.steps_per_epoch * self.batch_size
        return begin + (microstep * self.world_size + rank) * each

    def _due(self, every: Interval, step: int) -> bool:
        if step == self.total_steps:
            return True
        return self.ends_epoch(step) if every == "epoch" else step % every == 0


def make(plan: Plan, samples: int, *, drop_last: bool = False) -> Timetable:
    """Raises RequestError if the data do not give every process a sample in every step.

    `drop_last` leaves out the shorter last step of an epoch.
    """
    training = plan.spec.training
    shares = plan.world_size * training.accumulate
    if samples < shares:
        raise RequestError(
            f"the training data have {samples} samples, too few for {plan.world_size} processes"
            f" × {training.accumulate} microbatches",
            hint=f"at least {shares} samples are needed; fewer processes or training.accumulate need less",
        )
    shorter_last = samples % training.batch_size >= shares and not (drop_last and samples >= training.batch_size)
    steps_per_epoch = samples // training.batch_size + shorter_last
    return _timetable(plan, samples, steps_per_epoch, training.steps or (training.epochs or 1) * steps_per_epoch)


def without_data(plan: Plan) -> Timetable:
    """For a loop that has no samples to go through: one epoch, of the job's steps or without an end."""
    training = plan.spec.training
    total_steps = training.steps or sys.maxsize
    return _timetable(plan, samples=0, steps_per_epoch=total_steps, total_steps=total_steps)


def _timetable(plan: Plan, samples: int, steps_per_epoch: int, total_steps: int) -> Timetable:
    training = plan.spec.training
    return Timetable(
        samples=samples,
        batch_size=training.batch_size,
        world_size=plan.world_size,
        accumulate=training.accumulate,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        validate_every=training.validate_every,
        save_every=plan.spec.checkpoint.every,
        log_every=training.log_every,
    )
