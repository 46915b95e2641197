"""`launcher logs`: what a rank of a run wrote, as it is written."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from launcher import store
from launcher.cli import options
from launcher.errors import RequestError
from launcher.store import RunFolder

UNFINISHED = ("QUEUED", "RUNNING")
TICK = 0.5


@click.command(epilog="Example: launcher logs latest --rank 1 --follow")
@options.run_name
@click.option("--rank", type=click.IntRange(min=0), default=0, show_default=True, help="Whose log.")
@click.option("--follow", is_flag=True, help="Go on printing until the run ends.")
@options.runs_dir
def command(run: str, rank: int, follow: bool, runs_dir: Path) -> None:
    """Print the log of a rank of RUN's newest attempt.

    RUN is a run id, the beginning of one, or latest.
    """
    run_dir = store.find(runs_dir, run)
    if follow:
        _follow(run_dir, rank, sys.stdout.buffer)
    else:
        _copy(_log(run_dir, rank), 0, sys.stdout.buffer)


def _log(run_dir: Path, rank: int) -> Path:
    attempt = store.record(run_dir).attempts
    log = RunFolder(run_dir).rank_log(attempt, rank)
    if log.exists():
        return log
    ranks = sorted(int(other.stem.rpartition("-")[2]) for other in log.parent.glob("rank-*.log"))
    have = f"there are logs of ranks {_ranges(ranks)}" if ranks else "no rank has written one yet"
    raise RequestError(f"{run_dir.name}: no log of rank {rank} in attempt {attempt}; {have}")


def _follow(run_dir: Path, rank: int, out: BinaryIO) -> None:
    """Print the newest attempt's log as it grows; a retry's log follows the one before it."""
    attempt, offset = 0, 0
    while True:
        record = store.record(run_dir)
        if attempt:
            offset = _copy(RunFolder(run_dir).rank_log(attempt, rank), offset, out)
        if record.attempts > attempt:
            attempt, offset = attempt + 1, 0
        elif record.state not in UNFINISHED:
            _log(run_dir, rank)
            return
        else:
            time.sleep(TICK)


def _copy(log: Path, offset: int, out: BinaryIO) -> int:
    """Print what stands behind the offset; returns the new offset."""
    if log.exists():
        with log.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(1 << 16):
                out.write(chunk)
            offset = file.tell()
        out.flush()
    return offset


def _ranges(numbers: list[int]) -> str:
    """`0-2, 5`: runs of numbers in short."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
