"""All nodes on this machine: N node programs that meet on loopback."""

from __future__ import annotations

import sys

from launcher.backends.base import Command, Submission, request
from launcher.plan import Plan


def render(plan: Plan) -> Submission:
    argv = (sys.executable, "-m", "launcher.node")
    return Submission(
        commands=tuple(
            Command(argv=argv, request=request(plan, node_rank, bind="127.0.0.1")) for node_rank in range(plan.nodes)
        )
    )
