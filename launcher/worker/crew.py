"""The ranks that write one checkpoint together, in the background: a process group of their own beside the training's.

Rank 0 has the protocol; the others write their files where it says, give it their digests, and learn what came of it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from launcher import checkpoints, durable
from launcher.checkpoints import Contents, Others
from launcher.errors import JobFailed
from launcher.manifest import FileDigest

PATIENCE = timedelta(minutes=30)
"""For the slowest disk; whoever has not answered by then is given up."""

Report = tuple[dict[str, FileDigest], OSError | JobFailed | None]
"""What a rank wrote, or the error that kept it from that."""


class NotSaved(JobFailed):
    """Rank 0 could not save, and says why."""

    kind = "victim"


class Crew:
    """Made on all ranks at once."""

    def __init__(self) -> None:
        self.group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._told = False

    def lead(self, save: Callable[[Others], str]) -> str:
        """On rank 0: `save(others)` saves, and the others write while it does; returns the checkpoint's name."""
        self._told = False
        size = self._sum(0)
        try:
            name = save(Others(size=size, writing=self._writing))
        except BaseException as error:
            if not self._told:
                self._tell(None)
            self._tell((None, str(error)))
            raise
        self._tell((name, ""))
        return name

    def help(self, contents: Contents) -> str:
        """On any other rank: write these files too. Returns the checkpoint's name; raises NotSaved."""
        self._sum(checkpoints.size(contents))
        folder = self._tell()
        if folder is not None:
            dist.gather_object(_written(Path(folder), contents), group=self.group, group_dst=0)
        name, error = self._tell()
        if name is None:
            raise NotSaved(error)
        return str(name)

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[Mapping[str, FileDigest]]:
        self._told = True
        self._tell(str(folder))
        written: dict[str, FileDigest] = {}
        reports: list[Any] = [None] * dist.get_world_size(self.group)
        try:
            yield written
        finally:  # also where rank 0's own files could not be written: the others are still at it
            dist.gather_object(({}, None), reports, group=self.group, group_dst=0)
        for files, error in reports:
            if error is not None:
                raise error
            written |= files

    def _sum(self, size: int) -> int:
        """On rank 0: of all ranks' sizes."""
        total = torch.tensor(size)
        dist.reduce(total, group=self.group, group_dst=0)
        return int(total)

    def _tell(self, what: Any = None) -> Any:
        """From rank 0 to all."""
        held = [what]
        dist.broadcast_object_list(held, group=self.group, group_src=0)
        return held[0]


def _written(folder: Path, contents: Contents) -> Report:
    try:
        return {name: durable.write(folder / name, pieces) for name, pieces in contents.items()}, None
    except OSError as error:
        return {}, OSError(error.errno or errno.EIO, error.strerror or str(error), error.filename)
    except Exception as error:  # whatever it is, rank 0 waits to hear of it
        what = f"{type(error).__name__}: {error}"
        return {}, JobFailed(f"rank {dist.get_rank()} could not write its part of the checkpoint: {what}")
