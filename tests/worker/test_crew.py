"""Two ranks write one checkpoint, and whatever keeps either from it both hear of."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher import checkpoints
from launcher.errors import JobFailed
from launcher.manifest import FileDigest, Manifest, verify
from tests.worker import ranks

CASES = ("together", "rank 1 fails", "rank 1's disk is full", "rank 0 fails", "too large")
PATIENCE = 30.0
MINE = (b"first", b"the second")
"""What each rank writes."""


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """By case: what rank 0 and rank 1 got, a name or an error."""
    root = tmp_path_factory.mktemp("crew")
    queue = ranks.forks.SimpleQueue()
    crew = [ranks.forks.Process(target=_rank, args=(rank, root, queue)) for rank in range(2)]
    for each in crew:
        each.start()
    found: dict[int, Any] = {}
    deadline = time.monotonic() + 3 * PATIENCE
    while len(found) < len(crew) and time.monotonic() < deadline:
        if queue.empty():
            time.sleep(0.005)
        else:
            found.update([queue.get()])
    for each in crew:
        each.kill()
    return {case: [found[rank][case] for rank in range(2)] for case in CASES}


def test_all_ranks_write_at_the_same_time_under_one_manifest(endings: dict[str, list[Any]]) -> None:
    assert endings["together"] == ["step-00000001"] * 2


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("rank 1 fails", "rank 1 could not write its part of the checkpoint: ValueError: planted"),
        ("rank 1's disk is full", "no space left in"),
        ("rank 0 fails", "planted"),
        ("too large", f"a checkpoint needs {sum(map(len, MINE))} bytes, 14 are free"),
    ],
)
def test_what_keeps_one_rank_from_writing_both_hear_of(endings: dict[str, list[Any]], case: str, message: str) -> None:
    first, second = endings[case]
    assert message in str(first) and message in str(second)
    assert type(second).__name__ == "NotSaved"


def _rank(rank: int, root: Path, queue: Any) -> None:
    import torch.distributed as dist

    from launcher.worker.crew import Crew

    dist.init_process_group("gloo", store=dist.FileStore(str(root / "store"), 2), rank=rank, world_size=2)
    crew = Crew()
    ends: dict[str, Any] = {}
    for step, case in enumerate(CASES, 1):
        _plant(case, rank)
        contents = {f"shard-{rank}": [memoryview(MINE[rank])]}
        try:
            ends[case] = crew.help(contents) if rank else crew.lead(lambda others, step=step: _save(root, step, others))
        except Exception as error:
            ends[case] = error
    queue.put((rank, ends))


def _save(root: Path, step: int, others: checkpoints.Others) -> str:
    manifest = Manifest(step=step, epoch=0, attempt=1, world_size=2, spec="0" * 64, created="then", protected=False)
    contents = {"shard-0": [memoryview(MINE[0])]}
    fence = checkpoints.claim(root, 1)
    folder = checkpoints.folder(root)
    checkpoints.save(
        folder, manifest, contents, fence=fence, keep=2, known=set(), report=lambda fault: None, others=others
    )
    assert set(verify(folder / manifest.name).files) == {"shard-0", "shard-1"}
    return manifest.name


def _plant(case: str, rank: int) -> None:
    from launcher import durable

    write = _plant.__dict__.setdefault("write", durable.write)

    def meet(path: Path, pieces: Sequence[memoryview]) -> FileDigest:
        """Each waits for the other's file before its own is done."""
        found = write(path, pieces)
        deadline = time.monotonic() + PATIENCE
        while len(list(path.parent.iterdir())) < 2:
            assert time.monotonic() < deadline, f"only {path.name} is written"
            time.sleep(0.005)
        return found

    def fail(error: Exception) -> Any:
        def write(path: Path, pieces: Sequence[memoryview]) -> FileDigest:
            raise error

        return write

    planted: dict[tuple[str, int], Any] = {
        ("together", 0): meet,
        ("together", 1): meet,
        ("rank 1 fails", 1): fail(ValueError("planted")),
        ("rank 1's disk is full", 1): fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard-1")),
        ("rank 0 fails", 0): fail(JobFailed("planted")),
    }
    durable.write = planted.get((case, rank), write)
    if case == "too large":
        checkpoints._free = lambda root: 14  # of the 15 bytes that both need
