"""The node programs of a run as its launcher sees them: started, kept from one attempt to the next, ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import TracebackType
from typing import Any

from launcher import processes, shell
from launcher.backends import Command, Submission
from launcher.store import RunFolder
from launcher.wire import Inbox, Outbox

LEASE_TICK = 1.0
LONGEST_END = 20.0
"""Seconds after the end of its lease in which a node program has ended everything below it, or is stuck itself."""
GIVEN_UP = 2.0
"""Seconds to end for a command of which a node is lost: it may wait for that node as long as it likes."""


class Programs:
    """All node programs of a run. A node whose program stands is warm: its agent need not import torch again."""

    def __init__(self, run_id: str) -> None:
        processes.adopt_orphans()
        self._run_id = run_id
        self._others = processes.descendants()
        self._programs: list[Program] = []

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.end(patience=LONGEST_END if kind is None else 0.0)

    def __iter__(self) -> Iterator[Program]:
        return iter(self._programs)

    @property
    def warm(self) -> bool:
        """Whether all of them stand, and wait for another attempt."""
        return bool(self._programs) and all(program.waits for program in self._programs)

    def begin(self, submission: Submission, folder: RunFolder, attempt: int) -> None:
        """Let the programs that wait carry out an attempt; where one is missing, all are started anew."""
        if self.warm:
            for program, command in zip(self._programs, submission.commands, strict=True):
                program.again(command)
            return
        self.end()
        first = 0
        for command in submission.commands:
            self._programs.append(self._start(command, first, folder.node_log(attempt, first)))
            first += command.nodes

    @contextlib.contextmanager
    def kept_waiting(self) -> Iterator[None]:
        """Keep their leases alive while the launcher is busy between two attempts."""
        over = threading.Event()

        def tick() -> None:
            while not over.wait(LEASE_TICK):
                self.tell({})

        ticking = threading.Thread(target=tick, name="lease", daemon=True)
        ticking.start()
        try:
            yield
        finally:
            over.set()
            ticking.join()

    def tell(self, message: Mapping[str, Any]) -> None:
        for program in self._programs:
            program.say(message)

    def end(self, patience: float = LONGEST_END) -> None:
        """End them all and whatever of the run they leave."""
        for program in self._programs:
            program.hang_up()
        deadline = time.monotonic() + patience
        for program in self._programs:
            program.close(max(0.0, min(deadline - time.monotonic(), GIVEN_UP if program.given_up else LONGEST_END)))
        self._programs = []
        processes.end_descendants(mark=self._run_id, spare=self._others)

    def _start(self, command: Command, first: int, log: Path) -> Program:
        with log.open("ab") as errors:
            environ = {**os.environ, processes.MARK: self._run_id}
            process = shell.start(command.argv, env=environ, stderr=errors)
        return Program(process, command, first, log)


class Program:
    """A node program, or several behind one command."""

    def __init__(self, process: Popen[bytes], command: Command, first: int, errors: Path) -> None:
        """`errors` is the file that takes its standard error."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        self.process = process
        self.command = command
        self.inbox = Inbox(process.stdout.fileno())
        os.set_blocking(self.inbox.descriptor, False)
        self._outbox = Outbox(process.stdin.fileno())
        self._errors = errors
        self._errors_read = 0
        self.running = True
        self.given_up = False
        """Whether a node behind it was given up as lost."""
        self.outcomes: dict[int, Mapping[str, Any]] = {}
        """Of the newest attempt, by node rank."""
        self.ranks = range(first, first + command.nodes)
        self.say(_request(command))

    @property
    def at_work(self) -> bool:
        """Whether it has yet to say how its part of the attempt ended."""
        return self.running and len(self.outcomes) < len(self.ranks)

    @property
    def waits(self) -> bool:
        """Whether it has said how its part ended, and stands."""
        return self.running and not self.given_up and not self.at_work and self.process.poll() is None

    def again(self, command: Command) -> None:
        self.command, self.outcomes = command, {}
        self.say({"again": _request(command)})

    def say(self, message: Mapping[str, Any]) -> None:
        if self.running:
            self._outbox.put(message)
            self._outbox.flush()

    def deaths(self) -> Iterator[tuple[int, str]]:
        """The ranks of nodes whose program has ended, as the command has said since the last look, and the line."""
        if self.command.obituary is None:
            return
        with self._errors.open("rb") as errors:
            errors.seek(self._errors_read)
            whole, newline, _ = errors.read().rpartition(b"\n")
        self._errors_read += len(whole + newline)
        for line in whole.decode(errors="replace").splitlines():
            if found := re.search(self.command.obituary, line):
                yield int(found[1]), line.strip()

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
                left = folder.read_node_outcome(attempt, rank)
                # What a node writes after its connection is lost tells how it noticed, not what was the matter.
                self.outcomes[rank] = {**left, **dead} if left and code in self.command.lost else left or dead

    def close(self, patience: float) -> None:
        """See it ended, and end it by force where it has not within `patience` seconds."""
        assert self.process.stdout is not None  # noqa: S101 (shell.start gives pipes)
        self.process.stdout.close()
        if not self.running:
            return
        self.running = False
        try:
            self.process.wait(patience)
        except TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _request(command: Command) -> dict[str, Any]:
    """The request, with the values of the variables that may travel; they stand in no file."""
    passed = {name: os.environ[name] for name in command.pass_env if name in os.environ}
    return {**command.request, "env": {**command.request["env"], **passed}}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
