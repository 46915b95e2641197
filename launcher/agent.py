"""The agent's process as the node program sees it: what it is told, what it says, what its ranks say."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import address, processes, shell
from launcher.plan import Plan
from launcher.wire import Inbox


class Agent:
    """Started at once, so that it imports torch while the node program still waits for the rendezvous."""

    def __init__(
        self, plan: Plan, node_rank: int, *, listener: socket.socket | None, probe: bool, log: Path | None
    ) -> None:

        self._plan = plan
        self._node_rank = node_rank
        self._listener = listener
        events, events_end = os.pipe()
        for descriptor in (events, events_end):
            os.set_blocking(descriptor, False)  # a rank drops an event rather than wait for a reader
        descriptors = [events_end] + ([listener.fileno()] if listener else [])
        with log.open("ab") if log else contextlib.nullcontext() as errors:
            self.process = shell.start(
                [sys.executable, "-P", "-m", "launcher.worker", plan.spec.task.kind, *(["--probe"] if probe else [])],
                env={**os.environ, **environment(plan), "LAUNCHER_EVENTS_FD": str(events_end)},
                stderr=errors,
                pass_fds=descriptors,
            )
        os.close(events_end)
        assert self.process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.words = Inbox(self.process.stdout.fileno())
        """What it says itself: what its probe saw of torch, and which ranks failed."""
        self.events = Inbox(events)
        """What its ranks say."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def begin(self, rendezvous: list[Any]) -> None:
        """Let it meet the other nodes' agents and fork its ranks."""
        request = {
            "plan": self._plan.to_json(),
            "node_rank": self._node_rank,
            "rendezvous": rendezvous,
            "listen_fd": self._listener.fileno() if self._listener else None,
            "parent": os.getpid(),
            "env": _interface(self._plan, rendezvous[0]),
        }
        assert self.process.stdin is not None  # noqa: S101 (shell.start gives pipes)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.close()
        if self._listener is not None:
            self._listener.close()


def environment(plan: Plan) -> Mapping[str, str]:
    """What the plan sets for the agent and its ranks, above the environment the node program was started in."""
    return {processes.MARK: plan.run_id, "PYTHONUNBUFFERED": "1", **plan.env}


def _interface(plan: Plan, head: str) -> dict[str, str]:
    """Lets gloo and NCCL use the interface that leads to the first node; by themselves they go by the host's name,
    which on many machines means loopback."""
    name = address.interface_towards(head)
    chosen = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    return {key: value for key, value in chosen.items() if value and key not in {**os.environ, **plan.env}}
