"""The program that runs once on each node: it starts the agent, watches over it and leaves nothing behind.

Standard input brings JSON lines from the launcher, standard output takes JSON lines to it (ARCHITECTURE.md lists them).
The launcher's lines are also a lease: when they stop, because it died or the network did, every process here is ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import address, agent, checkpoints, hang, processes, rollcall, scratch
from launcher.agent import Agent
from launcher.plan import Plan
from launcher.preflight import Preflight
from launcher.store import RunFolder, write_whole
from launcher.wire import Inbox, LogTail, Outbox

STOP_GRACE = 30.0
"""Seconds that ranks get to reach a step boundary and save when the node itself is told to end by a signal."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

AGENT_PATIENCE = 2.0
"""Seconds in which an agent whose ranks were ended says so; one that does not is ended with them."""

LIFE_TICK = 1.0
"""Seconds between signs of life."""

MOST_SAID = 4000
"""Characters of the agent's own log that go into a failure's record."""


def main() -> int:
    """Carry out one attempt after another, for as long as the launcher's lines last. Returns how the last one ended."""
    processes.adopt_orphans()
    inbox = Inbox(sys.stdin.fileno())
    request, standing, code = inbox.first(), None, 1
    while request is not None:
        node = Node(request, inbox, standing)
        for number in SIGNALS:
            signal.signal(number, node.on_signal)
        code = node.run()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # nothing is left to save
        standing = node.agent if node.agent.stands else None
        request = _next(inbox, node.lease)
    processes.end_descendants()
    return code


def _next(inbox: Inbox, lease: float) -> dict[str, Any] | None:
    """Wait for the launcher to begin another attempt here; None when it does not."""
    while not inbox.closed and time.monotonic() - inbox.heard_at <= lease:
        select.select([inbox.descriptor], [], [], 0.2)
        messages = inbox.read()
        for number, message in enumerate(messages):
            if "again" in message:
                inbox.put_back(messages[number + 1 :])
                return message["again"]  # type: ignore[no-any-return]
    return None


class Node:
    """One attempt on one node."""

    def __init__(self, request: Mapping[str, Any], inbox: Inbox, standing: Agent | None) -> None:
        """`standing` is the agent of the attempt before, if it stands."""
        given = request["node_rank"]
        self.rank: int = address.scheduled_rank() if given is None else given
        self.plan = Plan.from_json(request["plan"])
        if request["makes_folder"]:
            self.plan = _made_here(self.plan)
        self.lease: float = request["lease"]
        self.folder = RunFolder(Path(self.plan.run_dir))
        os.environ.update(request["env"])
        environ = {**os.environ, **agent.environment(self.plan)}
        self.preflight = Preflight(self.plan, self.folder, self.rank, environ, look=standing is None)
        self.inbox = inbox
        self.outbox = Outbox(sys.stdout.fileno())
        self.logs = [LogTail(self.folder.rank_log(self.plan.attempt, rank), rank) for rank in self._told(request)]
        self.oom_before = processes.oom_kills()
        self.log = self.folder.node_log(self.plan.attempt, self.rank) if request["shared"] else None
        self.listener = self._listen(address.own(request["bind"]), request["port"]) if self.rank == 0 else None
        self.agent = standing or Agent(self.plan, probe=self.preflight.wanted, log=self.log)
        self.agent_exit: int | None = None
        self.shown_at = 0.0
        self.rendezvous: list[Any] | None = None
        self.begun = False
        self.fit: bool | None = None if self.preflight.wanted else True
        self.probe: dict[str, Any] | None = None
        self.unfit: list[dict[str, str]] = []
        self.ready: dict[int, int] = {}
        """Pids of the ranks that can be stopped gently and asked where they are."""
        self.agent.beats.clear()
        limit = self.plan.spec.hang.seconds
        self.watch = hang.Watch(limit, self.plan.procs_per_node) if limit else None
        self.failures: list[dict[str, Any]] = []
        self.stop_deadline: float | None = None
        self.ended_because: str | None = None

    def run(self) -> int:
        """Watch over the agent until the attempt is over or has to be; end every rank; say how it went."""
        try:
            self._watch()
        finally:
            self._end_ranks()
            scratch.remove(self.plan.run_dir, self.rank)
        self._hear_ranks()
        self._pass_log_on(everything=True)
        exit_code = self.agent.process.wait() if self.agent_exit is None else self.agent_exit
        outcome = self._outcome(exit_code)
        with contextlib.suppress(OSError):  # a full disk must not hide the outcome: the launcher is told it, too
            write_whole(self.folder.node_outcome(self.plan.attempt, self.rank), json.dumps(outcome, indent=1))
        self.outbox.put({"event": "exited", "outcome": outcome})
        self.outbox.flush(patience=5.0)
        return 1 if self.ended_because else exit_code

    def _end_ranks(self) -> None:
        """End everything below but an agent that says how its attempt ended; one that does not is ended, too."""
        kept = self.begun and not self.inbox.closed and not self._is_silent()
        deadline = time.monotonic() + AGENT_PATIENCE if kept else 0.0
        while True:  # again and again: the agent may have been about to fork
            processes.end_descendants(spare=[self.agent.pid] if deadline else [])
            self._hear_agent()
            if self.agent_exit is not None or not self.agent.stands or time.monotonic() > deadline:
                break
            select.select([self.agent.words.descriptor], [], [], 0.05)
        if self.agent_exit is None:
            processes.end_descendants()
            self._hear_agent()

    def on_signal(self, number: int, _frame: object) -> None:
        """A signal asks for a checkpoint and an end; a second one for the end alone."""
        if self.stop_deadline is None:
            self._stop(STOP_GRACE)
        else:
            self._end(f"got {signal.Signals(number).name} twice")

    def _listen(self, own: str, port: int) -> socket.socket:
        """Bind the rendezvous before anybody is told of it: the port cannot be lost to another process in between."""
        listener = socket.create_server((own, port), family=address.family(own), backlog=4096)
        host, port = listener.getsockname()[:2]
        self.outbox.put({"event": "listening", "host": host, "port": port})
        return listener

    def _watch(self) -> None:
        self.outbox.put(
            {"event": "started", "pid": self.agent.pid, "host": socket.gethostname(), "node_rank": self.rank}
        )
        agent_end = os.pidfd_open(self.agent.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(self.inbox.descriptor, selectors.EVENT_READ, self._hear_launcher)
            selector.register(self.agent.words.descriptor, selectors.EVENT_READ, self._hear_agent)
            selector.register(self.agent.events.descriptor, selectors.EVENT_READ, self._hear_ranks)
            selector.register(agent_end, selectors.EVENT_READ, lambda: None)
            self._hear_launcher()  # a message may have come along with the request
            self.outbox.flush()
            while self.agent.stands and self.agent_exit is None and self.ended_because is None:
                for key, _ in selector.select(timeout=0.2):
                    key.data()
                self._judge_when_seen()
                self._begin_when_fit()
                self._look_at_clock()
                self._look_for_hangs()
                self._show_life()
                self._pass_log_on()
                self.outbox.flush()
        os.close(agent_end)

    def _hear_launcher(self) -> None:
        for message in self.inbox.read():
            if "rendezvous" in message:
                self.rendezvous = message["rendezvous"]
            if "stop" in message:
                self._stop(float(message["stop"]))
            if "roll_call" in message:
                self._call_the_roll()
            if "end" in message:
                self._end(message["end"])
        if self.inbox.closed:
            self._end("the launcher is gone (end of its lines)")

    def _hear_agent(self) -> None:
        for message in self.agent.words.read():
            self.failures += message.get("failures", [])
            self.probe = message.get("probe", self.probe)
            self.agent_exit = message.get("ended", self.agent_exit)

    def _hear_ranks(self) -> None:
        """Pass what they say up to the launcher, noting which of them are ready to be stopped gently."""
        for event in self.agent.events.read():
            if event.get("event") == "ready":
                self.ready[event["rank"]] = event.get("pid", 0)
            self.outbox.put(event)

    def _judge_when_seen(self) -> None:
        if self.fit is not None or self.probe is None or self.preflight.collecting:
            return
        refused, warnings = self.preflight.judge(self.probe)
        self.fit, self.unfit = not refused, [result.as_json() for result in refused]
        for text in warnings:
            self.outbox.put({"event": "warning", "text": f"{socket.gethostname()}: {text}"})
        if refused:
            self._end("the node is unfit for this job")

    def _begin_when_fit(self) -> None:
        if self.fit and self.rendezvous is not None:
            self.agent.begin(self.plan, self.rank, self.rendezvous, self.listener, self.log)
            self.rendezvous, self.begun = None, True

    def _pass_log_on(self, *, everything: bool = False) -> None:
        for log in self.logs:
            for event in log.read(everything=everything):
                self.outbox.put(event)

    def _told(self, request: Mapping[str, Any]) -> range:
        """The ranks whose output the launcher is sent: rank 0, and all where it does not see their logs."""
        first = self.rank * self.plan.procs_per_node
        if request["shared"]:
            return range(1 - min(1, first))
        return range(first, first + self.plan.procs_per_node)

    def _stop(self, grace: float) -> None:
        """Ask every rank here to save at the next step boundary all ranks agree on."""
        if len(self.ready) < self.plan.procs_per_node:
            self._end("stopped before training began")
            return
        self.stop_deadline = time.monotonic() + grace
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.agent.pid, signal.SIGUSR1)

    def _show_life(self) -> None:
        """The lease the other way round: on a machine that is gone nobody can say so."""
        if time.monotonic() - self.shown_at >= LIFE_TICK:
            self.shown_at = time.monotonic()
            self.outbox.put({"event": "alive", "node_rank": self.rank})

    def _is_silent(self) -> bool:
        return time.monotonic() - self.inbox.heard_at > self.lease

    def _look_at_clock(self) -> None:
        if self._is_silent():
            self._end(f"the launcher was silent for {self.lease:g} s")
        elif self.stop_deadline is not None and time.monotonic() > self.stop_deadline:
            self._end("the ranks did not stop within the grace time")

    def _look_for_hangs(self) -> None:
        hung = self.watch.hung(self.agent.beats.read(), time.monotonic()) if self.watch else []
        if hung:
            self.watch = None  # said once; the launcher has all nodes call the roll, and ends the attempt
            ranks = [self.rank * self.plan.procs_per_node + local for local in hung]
            self.outbox.put({"event": "stuck", "node_rank": self.rank, "ranks": ranks})

    def _call_the_roll(self) -> None:
        first = self.rank * self.plan.procs_per_node
        beats = {first + local: beat for local, beat in enumerate(self.agent.beats.read())}
        logs = {rank: self.folder.rank_log(self.plan.attempt, rank) for rank in beats}
        answers = rollcall.call({rank: pid for rank, pid in self.ready.items() if pid}, logs, beats)
        self.outbox.put({"event": "present", "node_rank": self.rank, "answers": answers})

    def _end(self, reason: str) -> None:
        self.ended_because = self.ended_because or reason

    def _outcome(self, exit_code: int) -> dict[str, Any]:
        """How this node's part ended: the agent's word on its processes, and each rank's own."""
        first = self.rank * self.plan.procs_per_node
        ranks = {}
        for rank in range(first, first + self.plan.procs_per_node):
            with contextlib.suppress(OSError, ValueError):
                ranks[str(rank)] = json.loads(self.folder.rank_outcome(self.plan.attempt, rank).read_bytes())
        oom_after = processes.oom_kills()
        counted = self.oom_before is not None and oom_after is not None
        return {
            "node_rank": self.rank,
            "host": socket.gethostname(),
            "agent_exit": exit_code,
            "ended_because": self.ended_because,
            "said": self._last_words() if exit_code else "",
            "unfit": self.unfit,
            "oom_kills": oom_after - self.oom_before if counted else None,  # type: ignore[operator]
            "failures": self.failures,
            "ranks": ranks,
        }

    def _last_words(self) -> str:
        """The end of what the agent wrote to the node's log: its traceback, where it failed without a rank failing."""
        with contextlib.suppress(OSError):
            return self.folder.node_log(self.plan.attempt, self.rank).read_text(errors="replace")[-MOST_SAID:]
        return ""


def _made_here(plan: Plan) -> Plan:
    """A run folder of this node's own, which the launcher copies to its own afterwards."""
    plan = dataclasses.replace(plan, run_dir=str(Path.cwd() / plan.run_dir), job_dir=str(Path.cwd() / plan.job_dir))
    folder = RunFolder(Path(plan.run_dir))
    folder.begin_attempt(plan)
    checkpoints.claim(folder.path, plan.attempt)
    return plan


if __name__ == "__main__":
    sys.exit(main())
