"""The cluster tier: envcheck copied over OpenSSH to every host at once, and what each saw put side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from envcheck import bundle, facts
from envcheck.checks.network_cards import SOFTWARE_ONLY
from envcheck.machine import Absent, run_command
from envcheck.sections.cluster import Cluster, Identity, Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.facts import Facts
    from envcheck.sections.need import Need

SECONDS = 60.0
"""For one visit to one host; all hosts are visited at the same time."""
SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=8", "-o", "ServerAliveInterval=5")
COMMAND = "python3 -"
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:%-]*")
"""Never a leading dash: ssh would take the name for an option."""
TELL_TIME = "print(json.dumps(time.time()), flush=True)"
ANSWER = "from envcheck import remote; remote.main(json.loads({request!r}))"
STEERING = ("NCCL_", "GLOO_", "TP_", "TORCH_NCCL_", "CUBLAS_", "NVIDIA_TF32", "OMP_", "CUDA_VISIBLE", "UCX_", "FI_")


class WrongHost(ValueError):
    """A host that cannot be named to ssh."""


@dataclasses.dataclass(frozen=True)
class Visit:
    """What came back from one host: the answer, or why there is none; and how far its clock is ahead."""

    answer: dict[str, Any] | None
    failure: str | None = None
    clock: float | None = None


def look(hosts: Sequence[str], need: Need) -> tuple[Cluster, dict[str, Facts]]:
    """Visit every host: first to look, then to meet. Returns them side by side, and the facts of those that answered.

    Raises WrongHost for a name that ssh would take for something else.
    """
    for host in hosts:
        if not HOST.fullmatch(host):
            raise WrongHost(f"--host {host}: a host is a name or an address, with a user before an @ at most")
    names = _distinct(hosts)
    token = secrets.token_hex(6)
    base = {"need": dataclasses.asdict(dataclasses.replace(need, nodes=len(hosts))), "token": token}
    requests = {name: {**base, "action": "look", "index": index} for index, name in enumerate(names)}
    seen = _visit_all(requests)
    there = [name for name in names if seen[name].answer is not None]
    peers = {name: _peer(name, seen[name].answer or {}) for name in there}
    ports = {name: peer["port"] for name, peer in peers.items()}
    met = _visit_all({
        name: {**requests[name], "action": "meet", "port": ports[name],
               "peers": {other: peer for other, peer in peers.items() if other != name}}
        for name in there
    })  # fmt: skip
    if need.run_dir:
        _visit_all({name: {**requests[name], "action": "leave"} for name in there})
    nodes = tuple(_node(name, names, seen[name], met.get(name)) for name in names)
    return Cluster(nodes), {name: facts.from_json((seen[name].answer or {})["facts"]) for name in there}


def _peer(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """How the others may call it: by the name ssh uses, else by an address of its own, at a port that is free."""
    cards = answer["facts"]["sections"].get("network", {}).get("interfaces", [])
    own = [
        one["address"].partition("/")[0]
        for one in cards
        if one["up"] and one["address"] and not one["loopback"] and not one["name"].startswith(SOFTWARE_ONLY)
    ]
    return {"host": _host_of(name), "port": answer["port"], "addresses": own}


def _host_of(name: str) -> str:
    """An alias of ~/.ssh/config is known to ssh alone; `ssh -G` tells what it stands for."""
    host = name.partition("#")[0]
    try:
        lines = run_command(["ssh", "-G", "--", host], 5).stdout.splitlines()
    except Absent:
        lines = []
    return next((line[9:] for line in lines if line.startswith("hostname ")), host.rpartition("@")[2])


def _distinct(hosts: Sequence[str]) -> list[str]:
    """A host that is named twice stays two nodes: `a`, `a#2`."""
    return [host if host not in hosts[:index] else f"{host}#{index + 1}" for index, host in enumerate(hosts)]


def _visit_all(requests: dict[str, dict[str, Any]]) -> dict[str, Visit]:
    visits: dict[str, Visit] = {}

    def visit(name: str) -> None:
        visits[name] = _visit(name.partition("#")[0], requests[name])

    threads = [threading.Thread(target=visit, args=(name,)) for name in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return visits


def _visit(host: str, request: dict[str, Any]) -> Visit:
    """One ssh, bounded in time: the program on its standard input, the clock and the answer on its standard output."""
    program = bundle.program(ANSWER.format(request=json.dumps(request)), first=TELL_TIME).encode()
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [*SSH, "--", host, COMMAND], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        return Visit(None, f"ssh: {error.strerror or error}")
    assert process.stdin and process.stdout and process.stderr  # noqa: S101 - for the type checker
    timer = threading.Timer(SECONDS, _end, [process])
    timer.start()
    with process:
        errors = _Reader(process.stderr.read)
        try:
            with contextlib.suppress(OSError):  # a host that refuses us closes the pipe; its words tell why
                process.stdin.write(program)
                process.stdin.close()
            clock = _first_line(process.stdout.readline())
            answer = process.stdout.read()
            process.wait()
        finally:
            timer.cancel()
            _end(process)
        return _understood(process.returncode, clock, answer, errors.text())


def _understood(returncode: int, clock: float | None, answer: bytes, errors: str) -> Visit:
    try:
        return Visit(json.loads(answer.decode(errors="replace").splitlines()[-1]), None, clock)
    except (IndexError, ValueError):
        silence = f"no answer within {SECONDS:g} s" if returncode < 0 else f"ssh ended with {returncode}"
        last = [line.strip() for line in errors.splitlines() if line.strip()][-1:]
        return Visit(None, last[0] if last and returncode >= 0 else silence, clock)


def _node(name: str, names: Sequence[str], seen: Visit, met: Visit | None) -> Node:
    if seen.answer is None:
        return Node(name, failure=seen.failure, clock=seen.clock)
    told = facts.from_json(seen.answer["facts"])
    environment, packages, network = told.get("environment"), told.get("packages"), told.get("network")
    answer = (met.answer if met else None) or {"names": {}, "ports": {}, "shared": None}
    shared = answer["shared"]
    return Node(
        host=name,
        clock=seen.clock,
        seen=_what_must_be_alike(told),
        packages=packages.installed if packages else {},
        environment={k: v for k, v in environment.variables.items() if k.startswith(STEERING)} if environment else {},
        mtu=seen.answer["mtu"],
        gids={f"{one.device}:{one.port}": ",".join(map(str, one.gids)) for one in network.rdma} if network else {},
        identity=facts.decode(Optional[Identity], seen.answer["identity"], "identity"),
        names=answer["names"],
        ports=answer["ports"],
        shared=None if shared is None else tuple(names[index] for index in shared),
    )


def _what_must_be_alike(told: Facts) -> dict[str, str]:
    host, python, driver = told.get("host"), told.get("python"), told.get("driver")
    gpus, packages = told.get("gpus"), told.get("packages")
    models = [gpu.name for gpu in gpus.devices] if gpus else []
    installed = packages.installed if packages else {}
    return {
        "torch": (packages and packages.torch) or "",
        "nccl": next((f"{name} {version}" for name, version in installed.items() if "nvidia-nccl" in name), ""),
        "driver": (gpus and gpus.driver) or (driver and driver.kernel_module) or "",
        "kernel": host.kernel if host else "",
        "glibc": (host and host.glibc) or "",
        "python": ".".join(python.version.split(".")[:2]) if python else "",
        "gpus": ", ".join(f"{models.count(model)} x {model}" for model in dict.fromkeys(models)),
    }


class _Reader(threading.Thread):
    """Takes in what a process says on its standard error, so that it never waits for us."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        super().__init__(daemon=True)
        self._read, self._found = read, b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._found = self._read()

    def text(self) -> str:
        self.join(2)
        return self._found.decode(errors="replace")


def _first_line(line: bytes) -> float | None:
    """How far the clock that wrote this line is ahead of ours, now that it has arrived."""
    try:
        return round(float(line) - time.time(), 3)
    except ValueError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
