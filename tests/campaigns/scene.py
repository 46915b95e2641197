"""What the kill campaign sees of a run: its processes, the marks its job leaves, its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import processes, store
from launcher.store import RunFolder

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mark:
    """A line that the job wrote."""

    time: float
    pid: int
    rank: int
    what: str


PLACES = ("node", "agent", "agent", "rank")
"""Who stands where below the launcher: the node program, the agent, its fork for the attempt, the ranks it forks."""


@dataclass
class Scene:
    """A folder of runs, one run in it, and the command that works on it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    run_dir: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.temporary, self.runs_dir):
            path.mkdir(parents=True)

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    @property
    def temporary(self) -> Path:
        """Where the run's programs put what they call temporary."""
        return self.folder / "tmp"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        paths = {"LAUNCHER_RUNS_DIR": self.runs_dir, "TMPDIR": self.temporary, "KILLS_MARKS": self.folder / "marks"}
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "launcher", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in paths.items()}, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def find_run(self) -> Path | None:
        """The run's folder, once there is one."""
        if self.run_dir is None:
            self.run_dir = next((path for path in self.runs_dir.iterdir() if not path.name.startswith(".")), None)
        return self.run_dir

    def marks(self) -> list[Mark]:
        try:
            lines = (self.folder / "marks").read_text().splitlines()
        except FileNotFoundError:
            return []
        fields = [line.split() for line in lines]
        return [Mark(float(moment), int(pid), int(rank), what) for moment, pid, rank, what in fields]

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run; {} where it is not there yet."""
        try:
            value: dict[str, Any] = json.loads((self.run_dir or self.runs_dir).joinpath(name).read_text())
        except FileNotFoundError:
            return {}
        return value

    def events(self) -> list[dict[str, Any]]:
        """What the run's record says happened, in order."""
        return list(store.events(RunFolder(self.run_dir))) if self.run_dir else []

    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")[-1200:]

    def alive(self) -> dict[str, list[int]]:
        """Every process of the run but its launcher, by what it is."""
        found: dict[str, list[int]] = {"node": [], "agent": [], "rank": []}
        if self.find_run() is None:
            return found
        assert self.run_dir is not None
        parents = {pid: parent for pid in processes.every() if (parent := _parent(pid)) is not None}
        marked = {pid for pid in parents if processes.marked(pid, self.run_dir.name)}
        for pid in sorted(marked):
            found[PLACES[min(len(list(_line(pid, parents, marked))), len(PLACES)) - 1]].append(pid)
        return found

    def litter(self) -> list[str]:
        """Temporary files that nobody will ever remove."""
        places = [self.runs_dir, *([self.run_dir] if self.run_dir else [])]
        hidden = {path for place in places for path in place.rglob(".*")}
        kept = {path for path in self.temporary.iterdir() if path.name.startswith("torchinductor_")}  # torch's cache
        return sorted(str(path.relative_to(self.folder)) for path in hidden | {*self.temporary.iterdir()} - kept)


def until(condition: Any, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _line(pid: int, parents: Mapping[int, int], marked: Collection[int]) -> Iterator[int]:
    """A process of a run and those of the run above it."""
    while pid in marked:
        yield pid
        pid = parents[pid]


def _parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[1])
