"""What a rank is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist

from launcher.heartbeat import Heart
from launcher.plan import Plan
from launcher.worker import use
from launcher.worker.agreement import several
from launcher.worker.checkpoint import Checkpoints
from launcher.worker.events import Events
from launcher.worker.stop import Stop, Store


@dataclass(kw_only=True)
class Context:
    """One rank of a run."""

    plan: Plan
    rank: int
    local_rank: int
    node_rank: int
    device: torch.device
    stop: Stop
    events: Events
    checkpoints: Checkpoints
    heart: Heart
    step: int = 0
    """How far the training has come; the only part that changes."""
    epoch: int = 0
    kept: list[Any] = field(default_factory=list)
    """What must outlive the process group: a DDP reducer that is freed while its communication thread waits for the
    interpreter waits for that thread in turn, for ever."""

    @property
    def world_size(self) -> int:
        return self.plan.world_size

    @property
    def seed(self) -> int:
        return self.plan.spec.training.seed

    def listen(self) -> None:
        """Let the wish to stop come from every rank, from here on."""
        if several():
            self.stop.listen(cast(Store, dist.distributed_c10d._get_default_store()))

    def warn(self, warnings: Iterable[str]) -> None:
        """Tell the run of each, once for all ranks."""
        for text in warnings if self.rank == 0 else ():
            self.events.emit("warning", text=text)

    @classmethod
    def create(cls, plan: Plan, *, rank: int, local_rank: int, node_rank: int) -> Context:
        """Needs no process group yet, only the rank's environment."""
        device = torch.device(plan.device, local_rank) if plan.device == "cuda" else torch.device("cpu")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        settling = [partial(torch.cuda.synchronize, device)] if device.type == "cuda" else []
        events = Events(rank, use=lambda: use.of(device))

        def send(event: str, fields: Mapping[str, Any]) -> None:
            events.emit(event, **fields)

        return cls(
            plan=plan,
            rank=rank,
            local_rank=local_rank,
            node_rank=node_rank,
            device=device,
            stop=Stop(rank, plan.world_size, *settling),
            events=events,
            checkpoints=Checkpoints(plan, rank, events=send),
            heart=Heart(local_rank, plan.procs_per_node),
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the task of a rank ended."""

    step: int
    epoch: int
    metrics: Mapping[str, float | None]
    """The last logged values and the last validation's; None where a value is not finite."""
    checkpoint: str | None
    """Name of the newest checkpoint."""
    weights_sha256: str | None
    """Digest of the trained model, from rank 0 of a finished training (see `digest.weights_sha256`)."""
    stopped: bool
    """Whether it was asked to stop before its end."""
