"""Looks at all nodes at once before a run, each over a command that reaches it (`ssh host`): a conversation with
`probe` on every node, in two rounds, so that each node's port is open when the others try it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import math
import os
import select
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from launcher import shell
from launcher.errors import EnvironmentUnfit, LauncherError
from launcher.wire import Inbox

FAN_OUT = 32
"""Nodes looked at together; each further lot has as many seconds more."""
LAST_MOMENT = 1.0
"""Seconds for a connection that has ended to say how."""
NEIGHBOURS = 8
"""Up to so many nodes everybody tries everybody; above it, the head and the next few."""

# Receives modules as text and runs the last one. Old Pythons have no -P: the working folder must not lend modules.
RECEIVE = (
    "import sys; sys.path[:1] = []; import json, types\n"
    "for name, text in json.loads(sys.stdin.readline()).items():\n"
    "    module = sys.modules[name] = types.ModuleType(name)\n"
    "    exec(compile(text, name, 'exec'), module.__dict__)\n"
    "    parent, _, child = name.rpartition('.')\n"
    "    parent and setattr(sys.modules[parent], child, module)\n"
    "module.main()"
)


@dataclass(frozen=True, kw_only=True)
class Route:
    """How a node is reached: a command that runs one shell word list there, and how to read its complaints."""

    host: str
    argv: tuple[str, ...]
    """The program that connects; the remote command is added as one last word."""
    explain: Callable[[str, int, str], LauncherError]
    """From the host, exit code and what was said on standard error to the error that the user sees."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What to look at on every node."""

    seconds: float
    """When it has to be over, from the connection to the last answer; a node that hangs is not waited for longer."""
    python: str
    """Words of a shell there that start the Python."""
    bind: Sequence[str]
    """For each node, the address to listen on (see `address.own`)."""
    folders: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    """Those of the folders that are made where they are missing."""
    nonces: tuple[str, ...] = ()
    """Files that must be there to be read."""
    code: tuple[str, ...] = ()
    """Folders whose Python files must be the same on every node."""
    data: tuple[str, ...] = ()
    """Files and folders that must be the same on every node."""
    run: str | None = None
    """Run of which nothing may be left on the nodes: what is, is ended."""


Seen = dict[str, Any]
"""What a node's probe says, with `clock` added: seconds it is ahead of this machine, ± `clock_error`."""


def look(routes: Sequence[Route], wanted: Look, *, meet: bool) -> list[Seen]:
    """What each node says, in the order of the routes; with `meet`, also which others it cannot reach.

    Raises the first node's LauncherError when one cannot be reached or gives no answer in time.
    """
    deadline = time.monotonic() + wanted.seconds * math.ceil(len(routes) / FAN_OUT)
    with concurrent.futures.ThreadPoolExecutor(min(FAN_OUT, len(routes))) as pool:
        talks = [_Talk(route, wanted, deadline) for route in routes]
        try:
            seen = list(pool.map(_first_look, talks, [_request(wanted, rank) for rank in range(len(talks))]))
            if meet and len(talks) > 1:
                for answer, more in zip(seen, pool.map(_meet, talks, _questions(seen)), strict=True):
                    answer.update(more)
        finally:
            for talk in talks:
                talk.hang_up()
            over = time.monotonic() + LAST_MOMENT
            for talk in talks:
                talk.close(over)
    return seen


def _request(wanted: Look, rank: int) -> dict[str, Any]:
    return {
        "bind": wanted.bind[rank],
        "folders": wanted.folders,
        "make": wanted.make,
        "nonces": wanted.nonces,
        "code": wanted.code,
        "data": wanted.data,
        "run": wanted.run,
    }


def _first_look(talk: _Talk, request: Mapping[str, Any]) -> Seen:
    talk.say(_sources())
    seen = talk.ask(request)
    asked = time.time_ns()
    theirs = talk.ask({"clock": 1})["time_ns"]
    answered = time.time_ns()
    return {**seen, "clock": (theirs - (asked + answered) / 2) / 1e9, "clock_error": (answered - asked) / 2e9}


def _meet(talk: _Talk, question: Mapping[str, Any]) -> dict[str, Any]:
    return talk.ask(question)


def _questions(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Whom each node is to try: all, or in a large cluster the head and its next neighbours."""
    ports = [(one["address"], one["port"]) for one in seen]
    total = len(seen)
    questions = []
    for rank in range(total):
        near = range(total) if total <= NEIGHBOURS else [0, *((rank + step) % total for step in (1, 2))]
        peers = [ports[other] for other in near if other != rank and ports[other][1] is not None]
        questions.append({"peers": peers, "head": ports[0][0] or "127.0.0.1"})
    return questions


def _sources() -> dict[str, str]:
    package = Path(__file__).parents[1]
    files = {
        "address": "address.py",
        "processes": "processes.py",
        "shell": "shell.py",
        "cluster.fingerprint": "cluster/fingerprint.py",
        "cluster.probe": "cluster/probe.py",
    }
    texts = {f"launcher.{name}": (package / file).read_text() for name, file in files.items()}
    return {"launcher": "", "launcher.cluster": "", **texts}


class _Talk:
    """A conversation with the probe on one node."""

    def __init__(self, route: Route, wanted: Look, deadline: float) -> None:
        self._route = route
        self._deadline = deadline
        self._seconds = wanted.seconds
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        remote = f"{wanted.python} -c {shlex.quote(RECEIVE)}"
        self._process = shell.start([*route.argv, remote], env=os.environ, stderr=self._errors)
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 (pipes)
        self._stdin = self._process.stdin
        os.set_blocking(self._process.stdout.fileno(), False)
        self._inbox = Inbox(self._process.stdout.fileno())
        self._answers: list[dict[str, Any]] = []

    def say(self, message: Mapping[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise self._trouble() from None

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        self.say(question)
        while not self._answers:
            left = self._deadline - time.monotonic()
            if left <= 0 or self._inbox.closed:
                raise self._trouble()
            select.select([self._inbox.descriptor], [], [], left)
            self._answers = self._inbox.read()
        return self._answers.pop(0)

    def hang_up(self) -> None:
        """The end of the probe's input is its own end."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def close(self, deadline: float) -> None:
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _trouble(self) -> LauncherError:
        """The error of a node that does not answer, by what its connection left on standard error."""
        if time.monotonic() >= self._deadline:
            self._process.kill()
            text = f"{self._route.host}: no answer within {self._seconds:g} s"
            return EnvironmentUnfit(text, hint=f"try it by hand, or --set look.seconds={4 * self._seconds:g}")
        try:
            code = self._process.wait(LAST_MOMENT)
        except TimeoutExpired:
            code = -1
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        return self._route.explain(self._route.host, code, said)
