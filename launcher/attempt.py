"""One attempt: the node programs told to begin, fed their lease, listened to, and their ranks ended together."""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Mapping
from typing import Any

from launcher import hang
from launcher.backends import Submission
from launcher.journal import Listener
from launcher.plan import Plan
from launcher.programs import LEASE_TICK, LONGEST_END, Program, Programs
from launcher.store import RunFolder
from launcher.verdict import OVER

STOP_GRACE = 30.0
"""Seconds that ranks get to reach a step boundary and save after a stop was asked for."""
ROLL_CALL = 3.0
"""Seconds that nodes get to say where their ranks are."""
LAST_LINES = 1.0
"""Seconds after a node program's end in which its last lines arrive."""
LAST_WORDS = 3.0
"""Seconds that other nodes get to say how they ended after one has failed."""


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
    """Runs a submission to its end. Whatever happens, no rank outlives it; node programs that still answer stand, for
    `Programs` to use again or to end."""

    def __init__(
        self, plan: Plan, folder: RunFolder, listener: Listener, stop: StopRequest, programs: Programs
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._listener = listener
        self._stop = stop
        self._stop_sent = False
        self._abort_at: float | None = None
        self._kill_at: float | None = None
        self._programs = programs
        self._hosts: dict[int, str] = {}
        self._seen_alive: dict[int, float] = {}
        self._dead: dict[int, tuple[float, str]] = {}
        """Since when a node's program is said to have ended, and in which words."""
        self._selector = selectors.DefaultSelector()
        self._stuck: list[int] = []
        self._present: dict[int, list[dict[str, Any]]] = {}
        self._roll_until = float("inf")
        self._hang: dict[str, Any] | None = None

    def run(self, submission: Submission) -> dict[int, Mapping[str, Any]]:
        """The outcome of each node, in the node program's words or, where it died without any, in ours."""
        self._programs.begin(submission, self._folder, self._plan.attempt)
        for program in self._programs:
            self._selector.register(program.inbox.descriptor, selectors.EVENT_READ, program)
        next_tick = 0.0
        with self._selector:
            while any(program.at_work for program in self._programs):
                for key, _ in self._selector.select(timeout=0.2):
                    self._hear(key.data)
                if time.monotonic() >= next_tick:
                    self._programs.tell({})
                    next_tick = time.monotonic() + LEASE_TICK
                self._act()
        outcomes = {rank: outcome for program in self._programs for rank, outcome in program.outcomes.items()}
        if self._hang is not None:
            node_rank = self._hang["rank"] // self._plan.procs_per_node
            outcomes[node_rank] = {**outcomes.get(node_rank, {}), "hang": self._hang}
        return outcomes

    def _hear(self, program: Program) -> None:
        for event in program.inbox.read():
            if event.get("event") in ("started", "alive"):
                self._seen_alive[event["node_rank"]] = time.monotonic()
                self._hosts.setdefault(event["node_rank"], event.get("host", ""))
            if event.get("event") == "exited":
                self._take_outcome(program, event["outcome"])
            elif event.get("event") == "listening":
                self._programs.tell({"rendezvous": [event["host"], event["port"]]})
            elif event.get("event") == "stuck":
                self._call_the_roll(event["ranks"])
            elif event.get("event") == "present":
                self._present[event["node_rank"]] = event["answers"]
            elif event.get("event") == "log" and not program.command.request["shared"]:
                self._keep_log(event)
            elif event.get("event") != "alive":
                self._listener(event)
        if program.inbox.closed:
            self._selector.unregister(program.inbox.descriptor)
            program.finish(self._folder, self._plan.attempt, self._hosts)
            if program.process.returncode != 0:
                lost = program.process.returncode in program.command.lost
                self._abort(after=0.0 if lost else LAST_WORDS)

    def _take_outcome(self, program: Program, outcome: Mapping[str, Any]) -> None:
        program.outcomes[outcome["node_rank"]] = outcome
        if outcome["agent_exit"] != 0:
            self._abort(after=LAST_WORDS)

    def _abort(self, *, after: float) -> None:
        if self._abort_at is None:
            self._abort_at = time.monotonic() + after

    def _call_the_roll(self, stuck: list[int]) -> None:
        """A rank no longer moves: let every node say where its ranks are."""
        if not self._stuck:
            self._roll_until = time.monotonic() + ROLL_CALL
            self._programs.tell({"roll_call": True})
        self._stuck += stuck

    def _end_a_hang(self) -> None:
        if self._hang is None and (len(self._present) == self._plan.nodes or time.monotonic() > self._roll_until):
            answers = [answer for rank in sorted(self._present) for answer in self._present[rank]]
            self._hang = hang.cause(answers, sorted(self._stuck))
            self._listener({"event": "hang", "text": self._hang["message"], "ranks": answers})
            self._abort(after=0.0)

    def _give_lost_nodes_up(self) -> None:
        """End the attempt where a node gives no sign of life, or the command that started its program says it ended."""
        now = time.monotonic()
        for program in self._programs:
            for rank, said in program.deaths():
                self._dead.setdefault(rank, (now, said))
            limit = program.command.silence
            for rank in [rank for rank in program.ranks if program.running and rank not in program.outcomes]:
                died_at, said = self._dead.get(rank, (now, ""))
                if now - died_at > LAST_LINES:
                    self._give_up(program, rank, f"ended ({said})")
                elif limit and now - self._seen_alive.get(rank, now) > limit:
                    self._give_up(program, rank, f"gave no sign of life for {limit:g} s")

    def _give_up(self, program: Program, rank: int, died: str) -> None:
        host = self._hosts.get(rank)
        program.given_up = True
        program.outcomes[rank] = {"died": died, "time_ns": time.time_ns(), "host": host}
        self._listener({"event": "warning", "text": f"{host or f'node {rank}'}: the node program {died}"})
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
            self._programs.tell({"stop": STOP_GRACE})
            self._listener({"event": "stopping", "grace": STOP_GRACE})
        self._give_lost_nodes_up()
        self._end_a_hang()
        if self._stop.times > 1:
            self._end_all(hang_up=True)
        elif self._abort_at is not None and time.monotonic() > self._abort_at:
            self._end_all(hang_up=False)

    def _end_all(self, *, hang_up: bool) -> None:
        """End every rank, and in the end every node program that does not say so."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + LONGEST_END
            self._programs.tell({"end": OVER})
        for program in self._programs:
            if hang_up:
                program.hang_up()
            if program.at_work and time.monotonic() > self._kill_at:
                program.process.kill()
