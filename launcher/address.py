"""Which of this machine's addresses other nodes reach it by, and over which interface. Standard library only: the
program that looks at nodes before a run takes this module along."""

from __future__ import annotations

import fcntl
import os
import socket
import struct

REACHED = "reached"
"""The choice of the address by which the launcher's connection came in: others reach this node by it, too."""

SIOCGIFADDR = 0x8915

RANK_IN = ("SLURM_NODEID", "JOB_COMPLETION_INDEX")
"""Variables by which a scheduler tells a node its rank."""


def own(choice: str) -> str:
    """The address to listen on: `choice` is an address, the name of an interface, or `reached`.

    Raises OSError with a sentence where there is no such address.
    """
    if choice == REACHED:
        return _reached()
    if choice in _interfaces():
        address = _of_interface(choice)
        if address is None:
            raise OSError(f"interface {choice} has no IPv4 address")
        return address
    return choice


def interface_towards(host: str) -> str | None:
    """The interface over which this machine's packets to `host` leave; None where that cannot be told (IPv6)."""
    try:
        address = _source_towards(host)
    except OSError:
        return None
    return next((name for name in _interfaces() if _of_interface(name) == address), None)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def scheduled_rank() -> int:
    """This node's rank, as the scheduler that started the program tells it."""
    return int(next(os.environ[name] for name in RANK_IN if name in os.environ))


def _reached() -> str:
    """The address that sshd or Slurm's srun reached this machine by; else that of its own name."""
    if "SLURM_LAUNCH_NODE_IPADDR" in os.environ:
        return _source_towards(os.environ["SLURM_LAUNCH_NODE_IPADDR"])
    if "SSH_CONNECTION" in os.environ:
        return os.environ["SSH_CONNECTION"].split()[2]
    return _of_own_name()


def _source_towards(host: str) -> str:
    """The address that packets to `host` leave from."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _of_interface(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _of_own_name() -> str:
    """By the machine's own name; loopback, which many machines give their name, is of no use to other nodes."""
    name = socket.gethostname()
    address = socket.gethostbyname(name)
    if address.startswith("127."):
        raise OSError(f"the name {name} means {address} here, which other nodes cannot reach")
    return address
