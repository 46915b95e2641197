"""The ranks that write one checkpoint together, in the background: a process group of their own beside the training's.

Rank 0 has the protocol; the others write their files where it says, give it their digests, and learn what came of it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from launcher import durable
from launcher.checkpoints import Contents
from launcher.errors import JobFailed
from launcher.manifest import FileDigest

Report = tuple[dict[str, FileDigest], tuple[int, str] | None]
"""What a rank wrote, or the number and words of the error that kept it from that."""


class NotSaved(JobFailed):
    """Rank 0 could not save, and says why."""

    kind = "victim"


class Crew:
    """Made on all ranks at once."""

    def __init__(self) -> None:
        self.group = dist.new_group(backend="gloo")
        self._told = False

    def lead(self, save: Callable[[Callable[[Path], Mapping[str, FileDigest]]], str]) -> str:
        """On rank 0: `save(others)` saves, with `others(folder)` for what the others wrote there; returns the name."""
        self._told = False
        try:
            name = save(self._others)
        except BaseException as error:
            if not self._told:
                self._tell(None)
            self._tell((None, str(error)))
            raise
        self._tell((name, ""))
        return name

    def help(self, contents: Contents) -> str:
        """On any other rank: write these files too. Returns the checkpoint's name; raises NotSaved."""
        folder = self._tell()
        if folder is not None:
            dist.gather_object(_written(Path(folder), contents), group=self.group, group_dst=0)
        name, error = self._tell()
        if name is None:
            raise NotSaved(error)
        return str(name)

    def _others(self, folder: Path) -> Mapping[str, FileDigest]:
        self._told = True
        self._tell(str(folder))
        reports: list[Any] = [None] * dist.get_world_size(self.group)
        dist.gather_object(({}, None), reports, group=self.group, group_dst=0)
        written: dict[str, FileDigest] = {}
        for files, error in reports:
            if error is not None:
                raise OSError(*error)
            written |= files
        return written

    def _tell(self, what: Any = None) -> Any:
        """From rank 0 to all."""
        held = [what]
        dist.broadcast_object_list(held, group=self.group, group_src=0)
        return held[0]


def _written(folder: Path, contents: Contents) -> Report:
    try:
        return {name: durable.write(folder / name, pieces) for name, pieces in contents.items()}, None
    except OSError as error:
        return {}, (error.errno or errno.EIO, str(error))
