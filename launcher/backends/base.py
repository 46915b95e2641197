"""What a backend gives: for each node a command that runs the node program there, and what to tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import launcher
from launcher import elastic
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec
from launcher.store import RunFolder

LEASE_SECONDS = 10.0

HOME = Path(launcher.__file__).absolute().parents[1]
"""Where this launcher is imported from."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One node program: what to start, and the request it reads from its standard input."""

    argv: tuple[str, ...]
    request: Mapping[str, Any]
    nodes: int = 1
    """How many nodes it serves: one program of a scheduler's may start node programs on all of them."""
    host: str | None = None
    """The machine it runs on, where that is another one."""
    pass_env: tuple[str, ...] = ()
    """Names of the launcher's own variables that join the request's `env` at the last moment."""
    silence: float | None = None
    """Seconds without a sign of life after which a node is given up; None where its end cannot be missed."""
    obituary: str | None = None
    """A pattern of what it says on standard error when the node program of one of its nodes has ended; the group is
    that node's rank."""
    lost: Mapping[int, str] = field(default_factory=dict)
    """Exit codes of the command itself, not of the node program, and what they mean."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """All that a backend will do, decided and printable; nothing has happened yet."""

    commands: tuple[Command, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    """Text by name, written into the run folder before anything else."""


Tell = Callable[[Mapping[str, Any]], None]
"""Takes an event for the run's record and for who watches."""


def python_path() -> list[str]:
    """Words for `env` that let a Python elsewhere find this launcher, unless it is installed with a shared Python."""
    return [] if HOME.name in ("site-packages", "dist-packages") else [f"PYTHONPATH={HOME}"]


def code_folders(plan: Plan) -> tuple[str, ...]:
    """Folders of code that nodes with shared files must see as this machine does."""
    return (plan.job_dir, *([str(HOME / "launcher")] if python_path() else []))


def unchanged(spec: JobSpec, _job_path: Path) -> JobSpec:
    return spec


def no_preparation(_plan: Plan, _folder: RunFolder, _tell: Tell) -> None:
    return


def nothing_to_collect(_plan: Plan, _folder: RunFolder, _lost: Sequence[str] | None, _tell: Tell) -> None:
    return


@dataclass(frozen=True)
class Exchange:
    """Nodes without the one that failed: another in its place, or fewer."""

    plan: Plan
    told: str


def nobody(_plan: Plan, _cause: Mapping[str, Any]) -> Exchange | None:
    return None


def fewer(plan: Plan, cause: Mapping[str, Any]) -> Exchange | None:
    """For nodes of which one is as good as another, after one is lost; what failed on a node is no loss of it."""
    smaller = elastic.shrunk(plan, plan.nodes - 1) if cause.get("kind") == "node" else None
    return Exchange(smaller, f"node {cause['node']} is lost; {elastic.told(smaller)}") if smaller else None


def never(_plan: Plan) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A scheduler that runs attempts later and elsewhere."""

    submit: Callable[[Plan, RunFolder], str]
    """Hand the run in; returns the job's id. Raises LauncherError."""
    state: Callable[[str], Literal["QUEUED", "RUNNING", "UNKNOWN"] | None]
    """Where the job is; UNKNOWN while the scheduler does not answer, None when the job is no longer with it."""
    cancel: Callable[[str, bool], bool]
    """End the job; gently lets a running one save first. False while the scheduler does not answer."""
    last_word: Callable[[str], str]
    """The scheduler's word for how the job ended, such as CANCELLED."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A row of the table of backends."""

    render: Callable[[Plan], Submission]
    """What will be started; pure."""
    machine: Callable[[JobSpec], Machine]
    """What each node offers, by the least of them."""
    settle: Callable[[JobSpec, Path], JobSpec] = unchanged
    """The job with the backend's own section completed and checked. Raises RequestError."""
    prepare: Callable[[Plan, RunFolder, Tell], None] = no_preparation
    """Before each attempt: whether the nodes are fit together, and what has to be there. Raises LauncherError."""
    collect: Callable[[Plan, RunFolder, Sequence[str] | None, Tell], None] = nothing_to_collect
    """After each attempt, and before a resume: end what lost hosts still run (None: any may), and bring home what the
    nodes hold."""
    instead: Callable[[Plan, Mapping[str, Any]], Exchange | None] = nobody
    """The plan without the node that failed by a cause: another in its place, or fewer; None where there is neither."""
    keeps_warm: Callable[[Plan], bool] = never
    """Whether node programs that stand after an attempt can carry out the next without `collect` and `prepare`."""
    queue: Queue | None = None
    """Where the backend does not run attempts itself but hands them to a scheduler."""


def request(
    plan: Plan,
    node_rank: int | None,
    *,
    bind: str,
    env: Mapping[str, str],
    lease: float = LEASE_SECONDS,
    shared: bool = True,
) -> dict[str, Any]:
    """The node program's request.

    `node_rank` is None where a scheduler tells each node its own; `bind` says on which address node 0 opens the
    rendezvous (`address.own`), `env` what only this node sets, `lease` after how many silent seconds the node ends
    everything, `shared` whether the launcher sees the run folder of the nodes. `makes_folder` says whether each node
    makes a run folder of its own, `port` which one node 0 opens (0: any).
    """
    return {
        "plan": plan.to_json(),
        "node_rank": node_rank,
        "bind": bind,
        "env": dict(env),
        "lease": lease,
        "shared": shared,
        "makes_folder": not shared,
        "port": 0,
    }
