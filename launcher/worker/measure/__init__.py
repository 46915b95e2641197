"""A rank that is measured: the task as it is, with a stopwatch at its seams. Its answer is left in the run folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from launcher.measuring import Answer, Request
from launcher.store import RunFolder, write_whole
from launcher.worker.context import Context, Outcome
from launcher.worker.duties import Duties
from launcher.worker.measure import capacity, seams
from launcher.worker.measure.stopwatch import DeviceClock, HostClock, Stopwatch
from launcher.worker.measure.tracing import Tracer
from launcher.worker.tasks import Adapter

COUNTED = 2
"""The step whose operations are counted."""


class Enough(BaseException):
    """Ends a program whose length is its own, once all that was asked for is measured."""


def run(task: Adapter, context: Context, request: Request) -> Outcome:
    """Run the task to its end, measured."""
    measured = Measured(context, request)
    measured.watch_from_now_on()
    try:
        outcome = task.run(context)
    except Enough as enough:
        context.kept.append(enough)  # and with it the program's frames: a DDP reducer in them must not be freed
        outcome = Outcome(
            step=context.step, epoch=context.epoch, metrics={}, checkpoint=None, weights_sha256=None, stopped=False
        )
    measured.leave_in(RunFolder(Path(context.plan.run_dir)))
    return outcome


class Measured:
    """One rank's steps, counted; warm-up, then those that are timed."""

    def __init__(self, context: Context, request: Request) -> None:
        self._context = context
        self._request = request
        self._kind = context.plan.spec.task.kind
        self._watch = Stopwatch(DeviceClock() if context.device.type == "cuda" else HostClock())
        self._tracer = Tracer(self._watch, context.device) if request.profile and context.rank == 0 else None
        self._counter = capacity.Counter()
        self._step = 0
        self._by_duties = False
        self._stall = 0.0
        self._saves: list[float] = []
        self._flops: int | None = None
        self._peak_memory = 0
        self._samples = 0

    def watch_from_now_on(self) -> None:
        seams.put_in(self._watch, self._context)
        seams.Batches.instead(self._watch, synthetic=self._request.synthetic)
        begin, check, commit = Duties.begin_step, Duties.check_finite, Duties.commit
        clock = HostClock()

        def begin_step(duties: Duties) -> int:
            self._by_duties = True
            number = begin(duties)
            self._begin_step()
            if self._watch.runs and duties.timetable.samples:
                times = duties.timetable
                self._samples += times.microbatch(number) * times.accumulate * times.world_size
            return number

        def checked(duties: Duties) -> None:
            duties.context.checkpoints.wait()  # a save is measured by itself, not the writing of the one before
            began = clock.mark()
            check(duties)
            self._stall = sum(clock.gaps([began, clock.mark()]))

        def committed(duties: Duties, *args: Any, **kwargs: Any) -> None:
            began = clock.mark()
            commit(duties, *args, **kwargs)
            self._saves.append(self._stall + sum(clock.gaps([began, clock.mark()])))

        for method, instead in (("begin_step", begin_step), ("check_finite", checked), ("commit", committed)):
            setattr(Duties, method, instead)
        if self._kind == "script":
            register_optimizer_step_post_hook(self._optimizer_stepped)

    def leave_in(self, folder: RunFolder) -> None:
        """Write down what came of it."""
        file = folder.measured(self._context.rank)
        file.parent.mkdir(exist_ok=True, mode=0o700)
        if self._tracer is not None:
            write_whole(folder.profile, json.dumps(dataclasses.asdict(self._tracer.profile())))
            self._tracer.export(folder.trace)
        write_whole(file, json.dumps(dataclasses.asdict(self._answer())))

    def _answer(self) -> Answer:
        steps, phases = self._watch.times()
        device, precision = self._context.device, self._context.plan.precision
        unseen = dict(seams.UNSEEN[self._kind])
        if self._kind == "script" and seams.Batches.first is None:
            unseen["data wait"] = "the program reads its data itself; it is in the rest"
        return Answer(
            clock=self._watch.clock.name,
            steps=tuple(steps),
            phases={name: tuple(seconds) for name, seconds in phases.items()},
            unseen=unseen,
            saves=tuple(self._saves),
            samples=self._samples or None,
            tokens_per_sample=_tokens(seams.Batches.first),
            flops_per_step=self._flops,
            peak_flops=capacity.product_flops(self._watch.clock, device, precision) if self._flops else None,
            peak_memory=self._peak_memory,
            hardware=capacity.hardware(device),
            versions=capacity.versions(),
        )

    def _begin_step(self) -> None:
        """Also ends the step before."""
        self._step += 1
        step, warmup = self._step, self._request.warmup
        if step == COUNTED:
            self._counter.begin()
        elif step == COUNTED + 1:
            self._flops = self._counter.end() or None
        if step == warmup + 1:
            capacity.forget_peak(self._context.device)
            self._watch.runs = True
            if self._tracer is not None:
                self._tracer.start()
        self._watch.begin_step()
        if step == warmup + self._request.steps + 1:
            self._watch.runs = False
            if self._tracer is not None:
                self._tracer.stop()
            self._peak_memory = capacity.peak(self._context.device)
            if self._kind == "script":
                raise Enough

    def _optimizer_stepped(self, *_: Any) -> None:
        """Where nobody says that a step begins, one ends with each step of an optimizer."""
        if not self._by_duties:
            self._begin_step()


def _tokens(batch: Any) -> int | None:
    """Whole numbers of a sample, where that is what a batch begins with."""
    while isinstance(batch, dict | list | tuple) and batch:
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    if isinstance(batch, Tensor) and batch.ndim == 2 and not batch.is_floating_point() and batch.numel():
        return batch.shape[1]
    return None
