"""Heartbeats: where each rank of a node is, in memory shared with the node program. A beat is one small write."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

STARTING, STEP, BETWEEN, SAVING, ENDING = range(5)
PHASES = ("starting", "in the step", "between two steps", "saving", "ending")

_SLOT = struct.Struct("=qqq")
DESCRIPTOR = "LAUNCHER_BEATS_FD"
"""Environment variable that names the shared memory's descriptor."""


@dataclass(frozen=True)
class Beat:
    """What a rank said last. `count` changes with every beat; 0: it has said nothing yet."""

    count: int = 0
    step: int = 0
    phase: int = STARTING


class Board:
    """One slot for each local rank."""

    def __init__(self, descriptor: int, ranks: int) -> None:
        self.descriptor = descriptor
        self._ranks = ranks
        self._memory = mmap.mmap(descriptor, ranks * _SLOT.size)

    @classmethod
    def create(cls, ranks: int) -> Board:
        descriptor = os.memfd_create("beats")
        os.ftruncate(descriptor, ranks * _SLOT.size)
        return cls(descriptor, ranks)

    def clear(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def read(self) -> list[Beat]:
        return [Beat(*_SLOT.unpack_from(self._memory, rank * _SLOT.size)) for rank in range(self._ranks)]


class Heart:
    """One rank's side: `beat` says where it is."""

    def __init__(self, local_rank: int, ranks: int) -> None:
        """Beats for nobody where no descriptor is named, as in tests of a rank alone."""
        descriptor = os.environ.get(DESCRIPTOR)
        self._memory: mmap.mmap | bytearray = bytearray(ranks * _SLOT.size)
        if descriptor is not None:
            self._memory = mmap.mmap(int(descriptor), ranks * _SLOT.size)
        self._place = local_rank * _SLOT.size
        self._count = 0

    def beat(self, step: int, phase: int) -> None:
        self._count += 1
        _SLOT.pack_into(self._memory, self._place, self._count, step, phase)
