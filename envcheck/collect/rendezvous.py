"""The `rendezvous` section: whether the port at which the job will meet is free here, or answers there."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from envcheck.collect.names import addresses_of
from envcheck.sections.network import Rendezvous

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine

USUAL_PORT = 29500
"""torchrun's own default."""
SECONDS = 2.0
LISTENING = "0A"
ANSWERS = {errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "no answer"}


def collect(machine: Machine) -> Rendezvous:
    host, port = machine.need.rendezvous_host or "localhost", machine.need.rendezvous_port or USUAL_PORT
    try:
        addresses = addresses_of(host)
    except (OSError, UnicodeError) as error:
        return Rendezvous(host, port, failure=getattr(error, "strerror", None) or str(error))
    here = machine.need.rendezvous_host is None or machine.need.node_rank == 0 or any(map(_is_ours, addresses))
    return Rendezvous(
        host=host,
        port=port,
        addresses=addresses,
        here=here,
        holder=_holder(machine, port),
        answer=None if here or not addresses else _answer(addresses[0], port),
    )


def _is_ours(address: str) -> bool:
    """Only an address of this machine can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _answer(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=SECONDS).close()
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return "no answer" if isinstance(error, socket.timeout) else ANSWERS.get(error.errno or 0, str(error.strerror))
    return "accepted"


def _holder(machine: Machine, port: int) -> str | None:
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(machine, table, port)}
    if not inodes:
        return None
    for pid in filter(str.isdigit, machine.names("/proc")):
        if inodes & set(_sockets(machine, pid)):
            command = (machine.read_or_none(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip()
            return f"pid {pid} ({command[:60]})"
    return "another process"


def _listening(machine: Machine, table: str, port: int) -> Iterator[str]:
    for line in (machine.read_or_none(f"/proc/net/{table}") or "").splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def _sockets(machine: Machine, pid: str) -> Iterator[str]:
    for name in machine.names(f"/proc/{pid}/fd"):
        try:
            target = str(machine.path(f"/proc/{pid}/fd/{name}").readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
