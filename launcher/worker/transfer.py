"""Batches on their way to the device: in pinned memory, and copied while the one before is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data._utils.pin_memory import pin_memory

from launcher.worker.batches import to_device
from launcher.worker.context import Context


def ahead(batches: Iterator[Any], context: Context) -> Iterator[Any]:
    """The same batches; where the plan says so, each already on the device, or on its way, when it is asked for."""
    levers = context.plan.levers
    if levers.pin and not context.plan.spec.loader.workers:  # else the loader's own thread pins
        batches = map(pin_memory, batches)
    return _one_ahead(batches, context.device) if levers.ahead else batches


def _one_ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    held: tuple[Any, torch.cuda.Event | None] | None = None
    for batch in batches:
        following = _sent(batch, device, stream)
        if held is not None:
            yield _arrived(*held)
        held = following
    if held is not None:
        yield _arrived(*held)


def _sent(batch: Any, device: torch.device, stream: torch.cuda.Stream | None) -> tuple[Any, torch.cuda.Event | None]:
    """The copy waits for what is queued so far: the memory it takes may be an earlier batch's, still read there."""
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream) if stream is not None else nullcontext():
        return to_device(batch, device), stream.record_event() if stream is not None else None


def _arrived(batch: Any, copied: torch.cuda.Event | None) -> Any:
    if copied is not None:
        torch.cuda.current_stream().wait_event(copied)
    return batch
