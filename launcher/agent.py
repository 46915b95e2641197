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

from launcher import address, processes, scratch, shell
from launcher.heartbeat import DESCRIPTOR, Board
from launcher.plan import Plan
from launcher.wire import Inbox

QUICK_RESOLVER = "timeout:1 attempts:2"
"""torch asks the name server for the name of each peer of its store, and waits: by glibc's default 10 s for one that
does not answer."""


class Agent:
    """Started at once, so that it imports torch while the node program still waits for the rendezvous; it stands from
    one attempt to the next, so that only the first of them waits for that."""

    def __init__(self, plan: Plan, *, probe: bool, log: Path | None) -> None:
        events, events_end = os.pipe()
        for descriptor in (events, events_end):
            os.set_blocking(descriptor, False)  # a rank drops an event rather than wait for a reader
        self.beats = Board.create(plan.procs_per_node)
        """Where its ranks say they are."""
        self._requests, requests_end = socket.socketpair()
        with requests_end, log.open("ab") if log else contextlib.nullcontext() as errors:
            self.process = shell.start(
                [sys.executable, "-P", "-m", "launcher.worker", plan.spec.task.kind, *(["--probe"] if probe else [])],
                env={**os.environ, **environment(plan), **descriptors(events_end, self.beats)},
                stdin=requests_end.fileno(),
                stderr=errors,
                pass_fds=[events_end, self.beats.descriptor],
            )
        os.close(events_end)
        assert self.process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.words = Inbox(self.process.stdout.fileno())
        """What it says itself: what its probe saw of torch, which ranks failed, and how an attempt ended."""
        self.events = Inbox(events)
        """What its ranks say."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stands(self) -> bool:
        return self.process.poll() is None

    def begin(
        self, plan: Plan, node_rank: int, rendezvous: list[Any], listener: socket.socket | None, log: Path | None
    ) -> None:
        """Let it meet the other nodes' agents and fork the ranks of an attempt. Takes the listener over."""
        request = {
            "plan": plan.to_json(),
            "node_rank": node_rank,
            "rendezvous": rendezvous,
            "parent": os.getpid(),
            "env": {**_interface(plan, rendezvous[0]), **scratch.made(plan.run_dir, node_rank)},
            "log": str(log) if log else None,
        }
        line = json.dumps(request).encode() + b"\n"
        descriptors = [listener.fileno()] if listener else []
        with contextlib.suppress(BrokenPipeError), listener or contextlib.nullcontext():
            self._requests.sendall(line[socket.send_fds(self._requests, [line], descriptors) :])


def descriptors(events: int, beats: Board) -> Mapping[str, str]:
    """What tells the ranks where to write what they say."""
    return {"LAUNCHER_EVENTS_FD": str(events), DESCRIPTOR: str(beats.descriptor)}


def environment(plan: Plan) -> Mapping[str, str]:
    """What the plan sets for the agent and its ranks, above the environment the node program was started in."""
    resolver = {} if "RES_OPTIONS" in os.environ else {"RES_OPTIONS": QUICK_RESOLVER}
    return {processes.MARK: plan.run_id, "PYTHONUNBUFFERED": "1", **resolver, **plan.env}


def _interface(plan: Plan, head: str) -> dict[str, str]:
    """Lets gloo and NCCL use the interface that leads to the first node; by themselves they go by the host's name,
    which on many machines means loopback."""
    name = address.interface_towards(head)
    chosen = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    return {key: value for key, value in chosen.items() if value and key not in {**os.environ, **plan.env}}
