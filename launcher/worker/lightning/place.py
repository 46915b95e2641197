"""Puts Lightning's loops where a step left them: its counters follow from the step alone."""

from __future__ import annotations

from typing import Any

from launcher.worker.timetable import Timetable


def place(fit_loop: Any, timetable: Timetable, step: int, optimizer_steps: int) -> None:
    """Let `fit` go on after this step, all of whose duties (hooks, validation) are done.

    In mid-epoch the counters say that the last batch lacks nothing but its count as completed: of the states from which
    Lightning restarts, this is the one in which it trains on at once, without another validation.
    """
    epochs, within = divmod(step, timetable.steps_per_epoch)
    total, current = step * timetable.accumulate, within * timetable.accumulate
    epoch_loop = fit_loop.epoch_loop
    in_epoch = int(within > 0)
    for progress in (fit_loop.epoch_progress.total, fit_loop.epoch_progress.current):
        _count(progress, ready=epochs + in_epoch, done=epochs)
        progress.started = epochs + in_epoch
    for progress, batches in ((epoch_loop.batch_progress.total, total), (epoch_loop.batch_progress.current, current)):
        _count(progress, ready=batches, done=batches)
        progress.started = batches
        progress.completed = batches - in_epoch
    epoch_loop.batch_progress.is_last_batch = False
    optimizer = epoch_loop.automatic_optimization.optim_progress.optimizer.step
    for progress, steps in ((optimizer.total, optimizer_steps), (optimizer.current, within)):
        progress.ready = progress.completed = steps
    manual = epoch_loop.manual_optimization.optim_step_progress.total
    manual.ready = manual.completed = optimizer_steps
    epoch_loop._batches_that_stepped = step - in_epoch  # Lightning adds one where it restarts in mid-epoch
    fit_loop._restarting = epoch_loop._restarting = bool(within)


def _count(progress: Any, *, ready: int, done: int) -> None:
    progress.ready, progress.processed, progress.completed = ready, done, done
