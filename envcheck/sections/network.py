"""Network cards, names and the meeting point of a job, as this machine sees them."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Interface:
    """One network interface."""

    name: str
    up: bool
    mtu: int
    loopback: bool = False
    physical: bool = False
    """A device of the machine is behind it, not only software."""
    address: Optional[str] = None
    """Its first IPv4 address with the length of its network: `10.0.0.1/24`."""


@dataclass(frozen=True)
class RdmaPort:
    """One port of an InfiniBand or RoCE card."""

    device: str
    port: int
    state: str
    """`ACTIVE`, `DOWN`, `INIT`."""
    layer: str
    """`InfiniBand` or `Ethernet`."""
    rate: Optional[float] = None
    """Gb/s."""
    gids: tuple[int, ...] = ()
    """Indices of the addresses that are set."""


@dataclass(frozen=True)
class Network:
    """The interfaces, in the kernel's order, and the RDMA ports."""

    interfaces: tuple[Interface, ...] = ()
    rdma: tuple[RdmaPort, ...] = ()
    ipv6_loopback: bool = False


@dataclass(frozen=True)
class Names:
    """What this machine's name stands for."""

    hostname: str
    addresses: tuple[str, ...] = ()
    failure: Optional[str] = None
    """Why the name could not be resolved."""
    fqdn: str = ""
    fqdn_failure: Optional[str] = None
    localhost: tuple[str, ...] = ()
    reverse: Optional[str] = None
    """The address whose name was asked for, as torch's store asks: IPv4 written as IPv6."""
    reverse_seconds: Optional[float] = None
    """How long the answer took; None where none came within the time."""


@dataclass(frozen=True)
class Rendezvous:
    """The port at which the processes of the job meet."""

    host: str
    port: int
    addresses: tuple[str, ...] = ()
    failure: Optional[str] = None
    """Why the host's name could not be resolved."""
    here: bool = False
    """The host is this machine."""
    holder: Optional[str] = None
    """Who already listens at the port here, or `another process`."""
    answer: Optional[str] = None
    """Of another host's port: `accepted`, `refused`, `no answer`, or the kernel's words."""
