"""Puts the samples of several requests together and computes them in one thread."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from launcher.worker.serve import Settings
from launcher.worker.serve.predictor import Arrays, Predictor


class Full(Exception):
    """More samples wait than may."""


class Refused(Exception):
    """The model itself cannot compute these samples."""


@dataclass
class _Waiting:
    arrays: Arrays
    samples: int
    shapes: tuple[tuple[int, ...], ...]
    done: asyncio.Future[Arrays]


@dataclass
class Counts:
    """For /metrics."""

    requests: dict[int, int] = field(default_factory=dict)
    """By status."""
    samples: int = 0
    batches: int = 0
    seconds: float = 0.0


class Batcher:
    """A request's samples stay together; only those of one shape are computed with each other."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self._predictor = predictor
        self._settings = settings
        self._queue: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "predict")
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._computing = False
        self.counts = Counts()
        self.ready = False

    @property
    def waiting(self) -> int:
        return sum(each.samples for each in self._queue)

    async def start(self) -> None:
        """Compute once, so that the first request finds everything warm, then take requests."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._predictor.compute, self._predictor.example())
        self._task = asyncio.create_task(self._run())
        self.ready = True

    async def stop(self) -> None:
        """Compute what waits, then end."""
        self.ready = False
        while self._queue or self._computing:
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=True)

    async def predict(self, arrays: Arrays) -> Arrays:
        """Raises Full or Refused."""
        samples = len(arrays[0])
        if self.waiting + samples > self._settings.queue:
            raise Full
        shapes = tuple(array.shape[1:] for array in arrays)
        done: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(arrays, samples, shapes, done))
        self._arrived.set()
        return await done

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            self._computing = True
            await self._compute(self._next_batch())
            self._computing = False

    async def _gather(self) -> None:
        """Wait for more, at most as long as the first may wait."""
        deadline = asyncio.get_running_loop().time() + self._settings.latency
        while self.waiting < self._settings.max_batch:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._queue.popleft()]
        total = batch[0].samples
        while self._queue and self._queue[0].shapes == batch[0].shapes:
            total += self._queue[0].samples
            if total > self._settings.max_batch:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _compute(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        columns = zip(*(each.arrays for each in batch), strict=True)
        arrays = [np.concatenate(column) if len(column) > 1 else column[0] for column in columns]
        try:
            outputs = await loop.run_in_executor(self._thread, self._predictor.compute, arrays)
        except Exception as error:
            if len(batch) > 1:  # one request's samples must not cost the others theirs
                for each in batch:
                    await self._compute([each])
            elif not batch[0].done.done():
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                batch[0].done.set_exception(Refused(f"the model cannot compute these samples: {first[:300]}"))
            return
        self.counts.samples += sum(each.samples for each in batch)
        self.counts.batches += 1
        self.counts.seconds += loop.time() - began
        start = 0
        for each in batch:
            if not each.done.done():  # its client may have gone
                each.done.set_result([output[start : start + each.samples] for output in outputs])
            start += each.samples
