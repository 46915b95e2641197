"""ledger.jsonl: the digest of the first weights, and for each step that of its samples' order and rank 0's loss, exact.

It lets two runs be compared step by step (`launcher/ledger.py`). The losses are taken where they are looked at anyway;
nothing here waits for the device or the disk on its own account.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import xxhash

from launcher.worker.metrics import MetricsFile

Order = Callable[[range], Iterable[bytes]]
"""The samples of all processes in each of these steps, as bytes."""


class Ledger(MetricsFile):
    """Opened, and cut, at the step that the training goes on from."""

    def __init__(self, path: Path, *, step: int, order: Order | None) -> None:
        super().__init__(path, step=step, validated=True)
        self._order = order

    def begin(self, start: str) -> None:
        """The digest of the weights before the first step."""
        self._append({"step": 0, "start": start})

    def add(self, first: int, losses: Sequence[float]) -> None:
        """The losses of the steps from `first` on."""
        steps = range(first, first + len(losses))
        digests = map(xxhash.xxh3_64_hexdigest, self._order(steps)) if self._order else None
        orders = [f'"{digest}"' for digest in digests] if digests else ["null"] * len(losses)
        lines = [  # JSON written by hand: a line a step is to cost next to nothing
            f'{{"step": {step}, "order": {order}, "loss": "{float(loss).hex()}"}}\n'
            for step, order, loss in zip(steps, orders, losses, strict=True)
        ]
        os.write(self.file, "".join(lines).encode())
