"""`checkpoint.overlap: all`: weights and moments are copied while the next forward and backward pass go on.

Nothing changes them before an optimizer steps, and its step waits for the copies. What else is in the state, as a batch
norm's averages, is copied at once: a forward pass changes it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from launcher.errors import JobFailed
from launcher.worker import memory


@dataclass(frozen=True)
class Left:
    """A copy that is still to be made."""

    into: Tensor
    source: Tensor
    version: int
    """Torch's count of the changes made in place."""


class Overlap:
    """The copies of one save at a time, made by the thread that writes the files, or by a GPU beside its work."""

    def __init__(self) -> None:
        self._left: list[Left] = []
        self._changed_by_a_step = set[int]()
        self._watched = set[int]()
        self._copied = threading.Event()
        self._copied.set()
        self._on_device: torch.cuda.Event | None = None
        self._changed: list[Left] | None = None
        self._judging = threading.Lock()

    def begin(self, optimizers: Iterable[Optimizer]) -> None:
        """Before the state is copied: what only these change may be left for later."""
        self._left, self._changed_by_a_step = [], set()
        for each in optimizers:
            if id(each) not in self._watched:
                each.register_step_pre_hook(self._wait)
                self._watched.add(id(each))
            held = [value for state in each.state.values() for value in state.values() if isinstance(value, Tensor)]
            held += [parameter for group in each.param_groups for parameter in group["params"]]
            self._changed_by_a_step |= {tensor.data_ptr() for tensor in held}

    def leave(self, into: Tensor, source: Tensor) -> bool:
        """Whether this copy is left for `finish`."""
        if source.data_ptr() not in self._changed_by_a_step or not source.is_contiguous():
            return False
        self._left.append(Left(into, source.detach(), source._version))
        return True

    def start(self) -> None:
        """In the thread that trains, when all that is left is known."""
        self._copied.clear()
        self._on_device, self._changed = None, None
        if any(each.source.is_cuda for each in self._left):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for each in self._left:
                    each.into.copy_(each.source, non_blocking=True)
            self._on_device = stream.record_event()

    def finish(self) -> None:
        """In the thread that writes: returns when all is copied; raises JobFailed where it was changed meanwhile."""
        try:
            if self._on_device is not None:
                self._on_device.synchronize()
            for each in self._left if self._on_device is None else ():
                copy(each)
            changed = self._judge()
        finally:
            self._left = []
            self._copied.set()
        if changed:
            shape = tuple(changed[0].source.shape)
            raise JobFailed(
                f"a tensor of shape {shape} was changed while a checkpoint copied it, and by no optimizer's step",
                hint="checkpoint.overlap all is for jobs where nothing else does: --set checkpoint.overlap=files",
            )

    def _wait(self, *_: Any) -> None:
        if self._on_device is not None:
            self._judge()  # the GPU will wait, this thread does not: it counts the step's changes before all is copied
            torch.cuda.current_stream().wait_event(self._on_device)
        else:
            self._copied.wait()

    def _judge(self) -> list[Left]:
        """What has been changed since `start`, once for each save: before a step, or when all is copied."""
        with self._judging:
            if self._changed is None:
                self._changed = [each for each in self._left if each.source._version != each.version]
            return self._changed


def copy(left: Left) -> None:
    """Beside the threads that train; torch would take as many again."""
    memory.copy_by_one_core(left.into, left.source)
