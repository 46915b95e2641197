"""Several machines seen side by side: what must be alike, and whether they reach each other."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Identity:
    """What this machine would run, as far as files tell; compared between machines, never judged alone."""

    machine: str
    """The kernel's boot id and the network namespace: two containers of one machine are two nodes."""
    commit: Optional[str] = None
    """Of the job's folder; None where it is not under git."""
    changes: str = ""
    """Digest of what differs from the commit; empty where nothing does."""
    locks: dict[str, str] = field(default_factory=dict)
    """Lock file of the job's folder -> digest."""
    data: dict[str, str] = field(default_factory=dict)
    """Path of a data set -> number of files, bytes and digest."""


@dataclass(frozen=True)
class Node:
    """One machine of the cluster."""

    host: str
    """As it was named on the command line."""
    failure: Optional[str] = None
    """Why nothing is known of it."""
    clock: Optional[float] = None
    """Seconds its clock is ahead of the asking machine's; half a round trip too few at most."""
    seen: dict[str, str] = field(default_factory=dict)
    """What must be alike: `torch`, `nccl`, `driver`, `kernel`, `gpus`, `python`, `glibc`; empty where there is none."""
    packages: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """The variables that steer collectives."""
    mtu: Optional[int] = None
    """Of the interface that has the route to the others."""
    gids: dict[str, str] = field(default_factory=dict)
    """RoCE port -> indices of its addresses."""
    identity: Optional[Identity] = None
    names: dict[str, str] = field(default_factory=dict)
    """Other host -> its address as this node resolves it, or why it cannot."""
    ports: dict[str, str] = field(default_factory=dict)
    """Other host -> `ok`, or what a connection to its free port met."""
    shared: Optional[tuple[str, ...]] = None
    """Hosts whose file in the run folder this node sees; None where no run folder was named."""


@dataclass(frozen=True)
class Cluster:
    """All machines, in the order they were named."""

    nodes: tuple[Node, ...] = ()
