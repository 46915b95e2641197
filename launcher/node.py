"""The program that runs once on each node: it starts the agent, watches over it and leaves nothing behind.

Standard input brings JSON lines from the launcher, standard output takes JSON lines to it (ARCHITECTURE.md lists them).
The launcher's lines are also a lease: when they stop, because it died or the network did, every process here is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

from launcher import processes, shell
from launcher.plan import Plan
from launcher.store import RunFolder, write_whole
from launcher.wire import Inbox, LogTail, Outbox

STOP_GRACE = 30.0
"""Seconds that ranks get to reach a step boundary and save when the node itself is told to end by a signal."""


def main() -> int:
    processes.adopt_orphans()
    inbox = Inbox(sys.stdin.fileno())
    request = inbox.first()
    if request is None:
        return 1
    node = Node(request, inbox)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, node.on_signal)
    return node.run()


class Node:
    """One attempt on one node."""

    def __init__(self, request: Mapping[str, Any], inbox: Inbox) -> None:
        self.plan = Plan.from_json(request["plan"])
        self.rank: int = request["node_rank"]
        self.bind: str = request["bind"]
        self.lease: float = request["lease"]
        self.folder = RunFolder(Path(self.plan.run_dir))
        self.inbox = inbox
        self.outbox = Outbox(sys.stdout.fileno())
        self.selector = selectors.DefaultSelector()
        self.ready: set[int] = set()
        self.stop_deadline: float | None = None
        self.ended_because: str | None = None
        self.oom_before = processes.oom_kills()
        self.log = LogTail(self.folder.rank_log(self.plan.attempt, 0)) if self.rank == 0 else None

    def run(self) -> int:
        listener = self._listen() if self.rank == 0 else None
        agent = self._start_agent(listener)
        try:
            self._watch(agent)
        finally:
            processes.end_descendants()
        exit_code = agent.wait()
        self._last_words()
        outcome = self._outcome(agent, exit_code)
        write_whole(self.folder.node_outcome(self.plan.attempt, self.rank), json.dumps(outcome, indent=1))
        self.outbox.put({"event": "exited", "outcome": outcome})
        self.outbox.flush(patience=5.0)
        return exit_code

    def on_signal(self, number: int, _frame: object) -> None:
        """A signal asks for a checkpoint and an end; a second one for the end alone."""
        if self.stop_deadline is None:
            self._stop(STOP_GRACE)
        else:
            self._end(f"got {signal.Signals(number).name} twice")

    def _listen(self) -> socket.socket:
        """Bind the rendezvous before anybody is told of it: the port cannot be lost to another process in between."""
        listener = socket.create_server((self.bind, 0), backlog=4096)
        listener.set_inheritable(True)
        host, port = listener.getsockname()[:2]
        self.outbox.put({"event": "listening", "host": host, "port": port})
        return listener

    def _start_agent(self, listener: socket.socket | None) -> Popen[bytes]:
        events, events_end = os.pipe()
        for descriptor in (events, events_end):
            os.set_blocking(descriptor, False)  # a rank drops an event rather than wait for a reader
        self.workers = Inbox(events)
        descriptors = [events_end] + ([listener.fileno()] if listener else [])
        with self.folder.node_log(self.plan.attempt, self.rank).open("ab") as log:
            agent = shell.start(
                [sys.executable, "-P", "-m", "launcher.worker"],
                env={**os.environ, **self.plan.env, **self._agent_env(events_end)},
                stderr=log,
                pass_fds=descriptors,
            )
        os.close(events_end)
        self.listen_fd = listener.detach() if listener else None
        self.outbox.put({"event": "started", "pid": agent.pid, "host": socket.gethostname(), "node_rank": self.rank})
        return agent

    def _agent_env(self, events_end: int) -> dict[str, str]:
        interface = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"} if self.bind.startswith("127.") else {}
        return {
            processes.MARK: self.plan.run_id,
            "LAUNCHER_EVENTS_FD": str(events_end),
            "PYTHONUNBUFFERED": "1",
            **interface,
        }

    def _watch(self, agent: Popen[bytes]) -> None:
        """Until the agent is gone or has to go."""
        agent_end = os.pidfd_open(agent.pid)
        self.selector.register(self.inbox.descriptor, selectors.EVENT_READ, lambda: self._hear(agent))
        self.selector.register(self.workers.descriptor, selectors.EVENT_READ, self._forward)
        self.selector.register(agent_end, selectors.EVENT_READ, lambda: None)
        self.agent = agent
        while agent.poll() is None and self.ended_because is None:
            for key, _ in self.selector.select(timeout=0.2):
                key.data()
            self._look_at_clock()
            if self.log is not None:
                for event in self.log.read():
                    self.outbox.put(event)
            self.outbox.flush()
        os.close(agent_end)

    def _hear(self, agent: Popen[bytes]) -> None:
        for message in self.inbox.read():
            if "rendezvous" in message:
                self._send_agent(agent, message["rendezvous"])
            if "stop" in message:
                self._stop(float(message["stop"]))
        if self.inbox.closed:
            self._end("the launcher is gone (end of its lines)")

    def _send_agent(self, agent: Popen[bytes], rendezvous: list[Any]) -> None:
        request = {
            "plan": self.plan.to_json(),
            "node_rank": self.rank,
            "rendezvous": rendezvous,
            "listen_fd": self.listen_fd,
            "parent": os.getpid(),
        }
        assert agent.stdin is not None  # noqa: S101 (shell.start always gives a pipe)
        with contextlib.suppress(BrokenPipeError):
            agent.stdin.write(json.dumps(request).encode() + b"\n")
            agent.stdin.close()
        if self.listen_fd is not None:
            os.close(self.listen_fd)

    def _forward(self) -> None:
        """Pass what the workers say up to the launcher, noting which of them are ready to be stopped gently."""
        for event in self.workers.read():
            if event.get("event") == "ready":
                self.ready.add(event["rank"])
            self.outbox.put(event)

    def _last_words(self) -> None:
        self._forward()
        if self.log is not None:
            for event in self.log.read(everything=True):
                self.outbox.put(event)

    def _stop(self, grace: float) -> None:
        """Ask every rank here to save at the next step boundary all ranks agree on."""
        if len(self.ready) < self.plan.procs_per_node:
            self._end("stopped before training began")
            return
        self.stop_deadline = time.monotonic() + grace
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.agent.pid, signal.SIGUSR1)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if now - self.inbox.heard_at > self.lease:
            self._end(f"the launcher was silent for {self.lease:g} s")
        elif self.stop_deadline is not None and now > self.stop_deadline:
            self._end("the ranks did not stop within the grace time")

    def _end(self, reason: str) -> None:
        self.ended_because = self.ended_because or reason

    def _outcome(self, agent: Popen[bytes], exit_code: int) -> dict[str, Any]:
        """How this node's part ended: the agent's word on its processes, and each rank's own."""
        failures: list[dict[str, Any]] = []
        assert agent.stdout is not None  # noqa: S101 (shell.start always gives a pipe)
        with contextlib.suppress(ValueError, OSError), agent.stdout as said:
            failures = json.loads(said.read() or b"{}").get("failures", [])
        first = self.rank * self.plan.procs_per_node
        ranks = {}
        for rank in range(first, first + self.plan.procs_per_node):
            with contextlib.suppress(OSError, ValueError):
                ranks[str(rank)] = json.loads(self.folder.rank_outcome(self.plan.attempt, rank).read_bytes())
        oom_after = processes.oom_kills()
        known = self.oom_before is not None and oom_after is not None
        return {
            "node_rank": self.rank,
            "host": socket.gethostname(),
            "agent_exit": exit_code,
            "ended_because": self.ended_because,
            "oom_kills": oom_after - self.oom_before if known else None,  # type: ignore[operator]
            "failures": failures,
            "ranks": ranks,
        }


if __name__ == "__main__":
    sys.exit(main())
