"""All nodes on this machine: N node programs that meet on loopback and share its GPUs out."""

from __future__ import annotations

import sys

from launcher import machine
from launcher.backends.base import Backend, Command, Submission, fewer, request
from launcher.plan import Plan

ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


def render(plan: Plan) -> Submission:
    argv = (sys.executable, "-P", "-m", "launcher.node")
    return Submission(
        commands=tuple(
            Command(argv=argv, request=request(plan, node_rank, bind="127.0.0.1", env=_env(plan, node_rank)))
            for node_rank in range(plan.nodes)
        )
    )


def _env(plan: Plan, node_rank: int) -> dict[str, str]:
    if plan.device == "cpu" or plan.nodes == 1:
        return ON_LOOPBACK
    first = node_rank * plan.procs_per_node
    visible = machine.visible_gpus() or [str(gpu) for gpu in range(first + plan.procs_per_node)]
    return {**ON_LOOPBACK, "CUDA_VISIBLE_DEVICES": ",".join(visible[first : first + plan.procs_per_node])}


BACKEND = Backend(render=render, machine=lambda spec: machine.inspect(), instead=fewer, keeps_warm=lambda plan: True)
