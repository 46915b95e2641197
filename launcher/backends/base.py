"""What a backend gives: for each node a command that runs the node program there, and what to tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.plan import Plan

LEASE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """One node program: what to start, and the request it reads from its standard input."""

    argv: tuple[str, ...]
    request: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """All that a backend will do, decided and printable; nothing has happened yet."""

    commands: tuple[Command, ...]


Render = Callable[[Plan], Submission]


def request(plan: Plan, node_rank: int, *, bind: str, env: Mapping[str, str]) -> dict[str, Any]:
    """The node program's request: `bind` is the address on which node 0 opens the rendezvous, `env` what only this node
    sets."""
    return {"plan": plan.to_json(), "node_rank": node_rank, "bind": bind, "env": dict(env), "lease": LEASE_SECONDS}
