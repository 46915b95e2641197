"""Watches the losses without waiting for the device at each step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from launcher.worker.context import Context
from launcher.worker.ledger import Ledger

LONGEST = 100
"""Steps after which the losses are looked at, if nothing else asks for it."""
NEVER = 2**53


class Losses:
    """This rank's losses since they were last looked at."""

    def __init__(self, context: Context) -> None:
        self.world_size = context.world_size
        self.pending: list[Tensor] = []
        self.last: Mapping[str, Tensor] = {}
        self.ledger: Ledger | None = None
        """On rank 0: where they are kept to the last bit."""

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        self.pending.append(scalars["loss"])
        self.last = scalars

    def full(self) -> bool:
        """Whether it is time to look, if nothing else asks for it. It is so on all ranks at once."""
        return len(self.pending) >= LONGEST

    def newest(self) -> float:
        """The last step's loss on this rank (waits for the device)."""
        return float(self.last["loss"])

    def together(self, step: int) -> tuple[dict[str, float], tuple[int, int] | None]:
        """The last step's scalars, averaged over the ranks, and the first bad (step, rank), if any; for all ranks at
        once.

        The ranks' values are added in the order of the ranks, in 64 bits: the same sum on every rank and every time.
        """
        if not self.last:
            return {}, None
        values = torch.stack([value.double() for value in self.last.values()])
        report = torch.cat([values.new_tensor([self._first_bad(step)]), values])
        reports = [report]
        if self.world_size > 1:
            reports = [torch.empty_like(report) for _ in range(self.world_size)]
            dist.all_gather(reports, report)
        first_bad, *columns = zip(*torch.stack(reports).tolist(), strict=True)
        bad_step, rank = min((int(each), rank) for rank, each in enumerate(first_bad))
        means = [sum(column) / self.world_size for column in columns]
        return dict(zip(self.last, means, strict=True)), (bad_step, rank) if bad_step < NEVER else None

    def _first_bad(self, step: int) -> int:
        """The first of the steps up to this one whose loss here was not finite, or NEVER."""
        if not self.pending:
            return NEVER
        losses = torch.stack(self.pending)
        finite: list[bool] = torch.isfinite(losses).tolist()
        first = step - len(self.pending) + 1
        self.pending = []
        if self.ledger is not None:
            self.ledger.add(first, losses.double().tolist())
        return NEVER if all(finite) else first + finite.index(False)
