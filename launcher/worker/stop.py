"""SIGTERM ends the training at a step that all ranks agree on, without a word between them until it is asked for.

One rank or several are asked to stop, at any moment. A rank that sees its flag at the end of step s posts s to the
store and goes on; its first post raises the flag of every other rank, which a thread of that rank waits for. At the
end of each later step a flagged rank looks whether all have posted, and then all stop after step m + 1, where m is the
largest number posted.

Why every rank knows m before it has finished step m + 1:
  * The gradients of step m + 1 are summed over all ranks, so no rank finishes that step before every rank has begun it.
    The host of a GPU only puts the sum into a queue; so a rank that was asked settles first, which waits for its
    device: the end of a step is here the device's.
  * A rank begins step m + 1 only after it has posted: its post is some s ≤ m, made at the end of step s < m + 1.
  * A post is complete when it is made: the rank reads the store on the same connection before it goes on, and the
    store answers a connection's requests in order.
So at the end of step m + 1 each rank finds all posts, reads the same m, and stops there; and none has stopped earlier,
since all stop after m + 1 only. If step m + 1 lies beyond the last step, the training simply ends.

A step without any sum over the ranks would break the first point; the loop meets at a barrier in such a step.
"""

from __future__ import annotations

import datetime
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Protocol

ASKED = "stop/asked"
FOR_EVER = datetime.timedelta(days=365)


class Store(Protocol):
    """What is needed of torch's c10d stores."""

    def set(self, key: str, value: str, /) -> None: ...

    def get(self, key: str, /) -> bytes: ...

    def check(self, keys: list[str], /) -> bool: ...

    def wait(self, keys: list[str], timeout: datetime.timedelta, /) -> None: ...

    def clone(self) -> Store: ...


class Stop:
    """The wish to stop, of this rank and of the others."""

    def __init__(self, rank: int, world_size: int, settle: Callable[[], object] = lambda: None) -> None:
        """`settle` waits until the device has done what it was told."""
        self.asked = False
        self._settle = settle
        self._own_key = f"stop/{rank}"
        self._keys = [f"stop/{each}" for each in range(world_size)]
        self._store: Store | None = None
        self._posted = False
        self._last_step: int | None = None

    def install(self) -> None:
        """Let SIGTERM ask for the stop. The handler sets a flag and nothing else."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def listen(self, store: Store) -> None:
        """Agree with the other ranks through the process group's store. A thread that sleeps in the store hears of
        their wish, so call this after the last fork."""
        self._store = store
        threading.Thread(target=self._hear, args=(store,), name="stop", daemon=True).start()

    def now(self, step: int) -> bool:
        """Whether the training is to stop at the end of this step. Call it after each step while `asked` is true."""
        if self._store is None:
            return True
        self._settle()
        if not self._posted:
            self._store.set(self._own_key, str(step))
            self._store.set(ASKED, "")
            self._posted = True
        if self._last_step is None and self._store.check(self._keys):
            self._last_step = max(int(self._store.get(key)) for key in self._keys) + 1
        return step == self._last_step

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def _hear(self, store: Store) -> None:
        """On a connection of its own, made here: torch asks the name server about it, which can take seconds."""
        try:
            store.clone().wait([ASKED], FOR_EVER)
        except RuntimeError:
            return  # the store has gone, and with it the run
        self.asked = True
