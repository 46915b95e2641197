"""Asks every rank of this node where it is: a signal lets each write its stacks into its log, even out of C code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import hang
from launcher.heartbeat import Beat

SIGNAL = signal.SIGUSR2
PATIENCE = 1.0
"""Seconds for the stacks to be written."""
QUIET = 0.05
"""A log that has not grown for so long holds all of them."""

_BLOCK = re.compile(r"^(?:Current thread|Thread) 0x\w+.*\(most recent call first\):$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_STATES = {"T": "stopped, as by SIGSTOP", "t": "stopped by a debugger", "D": "stuck in the kernel, on a disk or driver"}

_PLACES = (
    (r"torch/utils/data/|launcher/worker/batches\.py$", r".*", "in DataLoader", False),
    (r"torch/autograd/graph\.py$", r"_engine_run_backward", "in the backward pass and its all-reduce", True),
    (r"torch/distributed/distributed_c10d\.py$", r"all_reduce", "in all-reduce", True),
    (r"torch/distributed/distributed_c10d\.py$", r"barrier", "at a barrier", True),
    (r"torch/distributed/", r".*", "in a collective of torch.distributed", True),
    (r"launcher/(checkpoints|durable|worker/checkpoint)\.py$", r".*", "saving a checkpoint", False),
)
"""Of a frame: its file, its function, the place in words, and whether that means waiting for other ranks."""
_LIBRARIES = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
    str(Path(__file__).parent),
    "<",
)


def call(pids: Mapping[int, int], logs: Mapping[int, Path], beats: Mapping[int, Beat]) -> list[dict[str, Any]]:
    """Every rank's answer, by rank; `pids` are those of the ranks that are ready to be asked."""
    sizes = {rank: _size(logs[rank]) for rank in beats}
    for pid in pids.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGNAL)
    _settle([logs[rank] for rank, pid in pids.items() if _state(pid) is None])
    return [_answer(rank, beat, pids.get(rank), _since(logs[rank], sizes[rank])) for rank, beat in beats.items()]


def place(stacks: str) -> tuple[str, bool] | None:
    """Where the main thread is, and whether it waits there for other ranks; None where the text holds no stack."""
    starts = [match.end() for match in _BLOCK.finditer(stacks)]
    frames = _FRAME.findall(stacks[starts[-1] :]) if starts else []  # the main thread is the last one
    for file, line, function in frames:
        for path, name, words, waits in _PLACES:
            if re.search(path, file) and re.fullmatch(name, function):
                return words, waits
        if not file.startswith(_LIBRARIES):
            return f"in {function} ({Path(file).name}:{line})", False
    return None


def _answer(rank: int, beat: Beat, pid: int | None, stacks: str) -> dict[str, Any]:
    found = place(stacks) or (_state(pid) or hang.phase_in_words(beat.phase), False)
    return {"rank": rank, "step": beat.step, "phase": beat.phase, "place": found[0], "waits": found[1]}


def _state(pid: int | None) -> str | None:
    """What the kernel says of a process that does not answer."""
    with contextlib.suppress(OSError, IndexError):
        return _STATES.get(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return None


def _settle(logs: Sequence[Path]) -> None:
    """Wait until the logs have grown and grow no more, or for as long as that may take."""
    deadline, before, sizes = time.monotonic() + PATIENCE, [_size(log) for log in logs], list[int]()
    while time.monotonic() < deadline:
        time.sleep(QUIET)
        now = [_size(log) for log in logs]
        if now == sizes and all(new > old for new, old in zip(now, before, strict=True)):
            return
        sizes = now


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _since(log: Path, offset: int) -> str:
    try:
        with log.open("rb") as opened:
            opened.seek(offset)
            return opened.read(1 << 20).decode(errors="replace")
    except OSError:
        return ""
