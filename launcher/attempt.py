"""One attempt: the node programs started together, fed their lease, listened to, and ended together."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

from launcher import processes, shell
from launcher.backends import Command, Submission
from launcher.journal import Listener
from launcher.plan import Plan
from launcher.store import RunFolder
from launcher.wire import Inbox, Outbox

LEASE_TICK = 1.0
STOP_GRACE = 30.0
"""Seconds that ranks get to reach a step boundary and save after a stop was asked for."""
LAST_WORDS = 3.0
"""Seconds that other nodes get to say how they ended after one has failed."""
LONGEST_END = 20.0
"""Seconds after the end of its lease in which a node program has ended everything below it, or is stuck itself."""


class StopRequest:
    """Signals that ask the launcher to stop: the first asks for a checkpoint first, the second does not wait for it.

    A signal that was ignored when the launcher began stays so: that is what `nohup` asks for.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []

    @property
    def times(self) -> int:
        return len(self.signals)

    def install(self, *more: signal.Signals) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *more):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.signals.append(number)


class Attempt:
    """Runs a submission's node programs to their end. Whatever happens, none outlives it."""

    def __init__(self, plan: Plan, folder: RunFolder, listener: Listener, stop: StopRequest) -> None:
        self._plan = plan
        self._folder = folder
        self._listener = listener
        self._stop = stop
        self._stop_sent = False
        self._abort_at: float | None = None
        self._kill_at: float | None = None
        self._nodes: dict[int, _Node] = {}
        self._hosts: dict[int, str] = {}
        self._seen_alive: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()

    def run(self, submission: Submission) -> dict[int, Mapping[str, Any]]:
        """The outcome of each node, in the node program's words or, where it died without any, in ours."""
        processes.adopt_orphans()
        others = processes.descendants()
        try:
            first = 0
            for command in submission.commands:
                self._start(first, command)
                first += command.nodes
            next_tick = 0.0
            while any(node.running for node in self._nodes.values()):
                for key, _ in self._selector.select(timeout=0.2):
                    self._hear(key.data)
                if time.monotonic() >= next_tick:
                    self._tell_all({})
                    next_tick = time.monotonic() + LEASE_TICK
                self._act()
        finally:
            for node in self._nodes.values():
                node.close(self._folder, self._plan.attempt, self._hosts)
            processes.end_descendants(mark=self._plan.run_id, spare=others)
        return {rank: outcome for node in self._nodes.values() for rank, outcome in node.outcomes.items()}

    def _start(self, node_rank: int, command: Command) -> None:
        with self._folder.node_log(self._plan.attempt, node_rank).open("ab") as log:
            mark = {processes.MARK: self._plan.run_id}
            process = shell.start(command.argv, env={**os.environ, **mark}, stderr=log)
        node = self._nodes[node_rank] = _Node(process, command, node_rank)
        node.say(_request(command))
        self._selector.register(node.inbox.descriptor, selectors.EVENT_READ, node_rank)

    def _hear(self, node_rank: int) -> None:
        node = self._nodes[node_rank]
        for event in node.inbox.read():
            if event.get("event") in ("started", "alive"):
                self._seen_alive[event["node_rank"]] = time.monotonic()
                self._hosts.setdefault(event["node_rank"], event.get("host", ""))
            if event.get("event") == "exited":
                self._take_outcome(node, event["outcome"])
            elif event.get("event") == "listening":
                self._tell_all({"rendezvous": [event["host"], event["port"]]})
            elif event.get("event") == "log" and not node.command.request["shared"]:
                self._keep_log(event)
            elif event.get("event") != "alive":
                self._listener(event)
        if node.inbox.closed:
            self._selector.unregister(node.inbox.descriptor)
            node.finish(self._folder, self._plan.attempt, self._hosts)
            if node.process.returncode != 0:
                lost = node.process.returncode in node.command.lost
                self._abort(after=0.0 if lost else LAST_WORDS)

    def _take_outcome(self, node: _Node, outcome: Mapping[str, Any]) -> None:
        node.outcomes[outcome["node_rank"]] = outcome
        if outcome["agent_exit"] != 0 and node.command.nodes > 1:
            self._abort(after=LAST_WORDS)  # the command itself lives on with the other nodes

    def _abort(self, *, after: float) -> None:
        if self._abort_at is None:
            self._abort_at = time.monotonic() + after

    def _give_silent_nodes_up(self) -> None:
        now = time.monotonic()
        for node in self._nodes.values():
            for rank in node.ranks:
                heard = self._seen_alive.get(rank)
                limit = node.command.silence
                if node.running and limit and heard and rank not in node.outcomes and now - heard > limit:
                    host = self._hosts.get(rank)
                    died = f"gave no sign of life for {limit:g} s"
                    node.outcomes[rank] = {"died": died, "time_ns": time.time_ns(), "host": host}
                    self._abort(after=0.0)

    def _keep_log(self, event: Mapping[str, Any]) -> None:
        """A rank's output from a node that shares no files: into the log here, and rank 0's to who watches."""
        with self._folder.rank_log(self._plan.attempt, event["rank"]).open("ab") as log:
            log.write(event["text"].encode())
        if event["rank"] == 0:
            self._listener(event)

    def _act(self) -> None:
        """Pass a stop on, and end everything when it has to end."""
        if self._stop.times and not self._stop_sent:
            self._stop_sent = True
            self._tell_all({"stop": STOP_GRACE})
            self._listener({"event": "stopping", "grace": STOP_GRACE})
        self._give_silent_nodes_up()
        due = self._abort_at is not None and time.monotonic() > self._abort_at
        if due or self._stop.times > 1:
            self._end_all()

    def _end_all(self) -> None:
        """End every lease, and in the end every node program that does not end by that."""
        now = time.monotonic()
        self._kill_at = self._kill_at or now + LONGEST_END
        for node in self._nodes.values():
            node.hang_up()
            if node.running and now > self._kill_at:
                node.process.kill()

    def _tell_all(self, message: Mapping[str, Any]) -> None:
        for node in self._nodes.values():
            node.say(message)


class _Node:
    """A node program as its launcher sees it, or several behind one command."""

    def __init__(self, process: Popen[bytes], command: Command, first: int) -> None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        self.process = process
        self.command = command
        self.inbox = Inbox(process.stdout.fileno())
        os.set_blocking(self.inbox.descriptor, False)
        self._outbox = Outbox(process.stdin.fileno())
        self.running = True
        self.outcomes: dict[int, Mapping[str, Any]] = {}
        self.ranks = range(first, first + command.nodes)

    def say(self, message: Mapping[str, Any]) -> None:
        if self.running:
            self._outbox.put(message)
            self._outbox.flush()

    def hang_up(self) -> None:
        """End its lease: it ends everything below it at once."""
        assert self.process.stdin is not None  # noqa: S101 (shell.start gives pipes)
        self.process.stdin.close()
        self._outbox.close()

    def finish(self, folder: RunFolder, attempt: int, hosts: Mapping[int, str]) -> None:
        """Its output has ended: it has exited, or is about to."""
        self.running = False
        code = self.process.wait()
        died = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code in self.command.lost:
            died = f"{self.command.lost[code]} ({_last_line(folder.node_log(attempt, self.ranks[0]))})"
        for rank in self.ranks:
            if rank not in self.outcomes:
                host = self.command.host or hosts.get(rank)
                dead = {"died": died, "time_ns": time.time_ns(), "host": host}
                self.outcomes[rank] = folder.read_node_outcome(attempt, rank) or dead

    def close(self, folder: RunFolder, attempt: int, hosts: Mapping[int, str]) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if self.running:
            self.process.kill()
            self.finish(folder, attempt, hosts)


def _request(command: Command) -> dict[str, Any]:
    """The request, with the values of the variables that may travel; they stand in no file."""
    passed = {name: os.environ[name] for name in command.pass_env if name in os.environ}
    return {**command.request, "env": {**command.request["env"], **passed}}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
