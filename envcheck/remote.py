"""What envcheck does on a machine it was copied to: look at it, then meet the other machines."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcheck import facts
from envcheck.collect import collect, identity
from envcheck.machine import Absent, Machine
from envcheck.sections.need import Need

if TYPE_CHECKING:
    from collections.abc import Callable

MEETING_SECONDS = 10.0
"""How long the machines wait for each other: they do not start at the same moment."""
CONNECT_SECONDS = 2.0


def main(request: dict[str, Any]) -> None:
    """Do what is asked (`look`, `meet` or `leave`) and print the answer as one line of JSON."""
    print(json.dumps(ACTIONS[request["action"]](request)), flush=True)


def look(request: dict[str, Any]) -> dict[str, Any]:
    """This machine's facts, what it would run, and a port that is free here. Leaves a mark in the run folder."""
    machine = Machine(facts.decode(Need, request["need"], "need"))
    if machine.need.run_dir:
        _try(lambda: _mark(request, request["index"]).write_text(machine.need.run_dir or ""))
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    return {
        "facts": facts.as_json(collect(machine, ("static",))),
        "identity": _identity(machine),
        "port": port,
        "mtu": _mtu_of_route(os.environ.get("SSH_CONNECTION", "").partition(" ")[0]),
    }


def _identity(machine: Machine) -> dict[str, Any] | None:
    """None where it cannot be told; the rest is worth having all the same."""
    try:
        return dataclasses.asdict(identity.collect(machine))
    except (Absent, OSError) as error:
        sys.stderr.write(f"the job's folder cannot be told: {error}\n")
        return None


def meet(request: dict[str, Any]) -> dict[str, Any]:
    """Connect to every other machine's port while they connect to ours."""
    peers = request["peers"]
    answers: dict[str, str] = {}
    with socket.create_server(("", request["port"]), backlog=128) as server:
        waiting = _Door(server, len(peers))
        waiting.start()
        deadline = time.monotonic() + MEETING_SECONDS
        names = {name: _resolve(peer["host"]) for name, peer in peers.items()}
        callers = [_Caller(name, names[name], peer, deadline, answers) for name, peer in peers.items()]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        waiting.join(max(0.0, deadline - time.monotonic()))
    indices = range(len(peers) + 1)
    seen = [index for index in indices if _mark(request, index).exists()] if request["need"]["run_dir"] else None
    return {"names": names, "ports": answers, "shared": seen}


def leave(request: dict[str, Any]) -> dict[str, Any]:
    """Take the mark away again."""
    _try(lambda: _mark(request, request["index"]).unlink())
    return {}


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"look": look, "meet": meet, "leave": leave}


class _Door(threading.Thread):
    """Takes connections until every peer has come."""

    def __init__(self, server: socket.socket, expected: int) -> None:
        super().__init__(daemon=True)
        self.server, self.expected = server, expected

    def run(self) -> None:
        came: set[bytes] = set()
        while len(came) < self.expected:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(CONNECT_SECONDS)
                try:
                    came.add(connection.recv(1000))
                except OSError:
                    continue


class _Caller(threading.Thread):
    """Connects to one peer by any of its addresses; a refusal may only mean that it is not there yet."""

    def __init__(self, peer: str, address: str, told: dict[str, Any], deadline: float, answers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.peer, self.port = peer, told["port"]
        self.addresses = dict.fromkeys([*([] if ": " in address else [address]), *told["addresses"]])
        self.deadline, self.answers = deadline, answers

    def run(self) -> None:
        while True:
            said = [self._call(address) for address in self.addresses]
            self.answers[self.peer] = answer = "ok" if "ok" in said else "; ".join(dict.fromkeys(said)) or "no address"
            if answer == "ok" or time.monotonic() > self.deadline:
                return
            time.sleep(0.2)

    def _call(self, address: str) -> str:
        try:
            with socket.create_connection((address, self.port), timeout=CONNECT_SECONDS) as connection:
                connection.sendall(socket.gethostname().encode() + str(self.port).encode())
        except socket.timeout:
            return "no answer"
        except OSError as error:
            return error.strerror or str(error)
        return "ok"


def _resolve(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        return f"{host}: {error.strerror or error}"


def _mtu_of_route(address: str) -> int | None:
    """Of the way to the asking machine: a connected datagram socket sends nothing and knows."""
    ip_mtu = 14
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return probe.getsockopt(socket.IPPROTO_IP, ip_mtu)
    except OSError:
        return None


def _mark(request: dict[str, Any], index: int) -> Path:
    return Path(request["need"]["run_dir"]) / f".envcheck-{request['token']}-{index}"


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except OSError:
        sys.stderr.write("the mark in the run folder could not be made or taken away\n")
