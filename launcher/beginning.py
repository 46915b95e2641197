"""Where a new run begins: with the newest checkpoint of an earlier one, be it of another job or kind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from launcher import checkpoints, durable, store
from launcher.errors import RequestError
from launcher.journal import Listener
from launcher.store import RunFolder


@dataclass(frozen=True)
class Beginning:
    source: RunFolder
    checkpoint: str

    def to_json(self) -> dict[str, str]:
        """As the new run's record names it."""
        return {"run": self.source.path.name, "checkpoint": self.checkpoint}

    def fill(self, folder: RunFolder) -> None:
        """Copy the checkpoint, and what was written down of the steps up to it (the worker cuts what is beyond)."""
        checkpoints.copy(self.source.checkpoints / self.checkpoint, folder.checkpoints)
        for before, now in ((self.source.metrics, folder.metrics), (self.source.ledger, folder.ledger)):
            with contextlib.suppress(FileNotFoundError):
                durable.write(now, [memoryview(before.read_bytes())])


def find(runs_dir: Path, name: str, listener: Listener) -> Beginning:
    """The newest sound checkpoint of a run, named as in `store.find`; raises RequestError where it has none."""
    source = RunFolder(store.find(runs_dir, name))
    found = checkpoints.newest_verified(
        source.checkpoints, report=lambda fault: listener({"event": "warning", "text": str(fault)})
    )
    if found is None:
        raise RequestError(
            f"{source.path.name} has no checkpoint to begin with", hint="`launcher show RUN` tells how far a run came"
        )
    return Beginning(source, found[0])
