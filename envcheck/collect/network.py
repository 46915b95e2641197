"""The `network` section: interfaces from /sys/class/net, RDMA ports from /sys/class/infiniband."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.network import Interface, Network, RdmaPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine

NET, RDMA = "/sys/class/net", "/sys/class/infiniband"
UP, LOOPBACK = 0x1, 0x8
SIOCGIFADDR, SIOCGIFNETMASK = 0x8915, 0x891B
NO_ADDRESS = "0000:0000:0000:0000:0000:0000:0000:0000"


def collect(machine: Machine) -> Network:
    names = machine.names(NET)
    if not names:
        raise Absent(f"{NET}: no interface is listed")
    found = sorted((int(machine.read_or_none(f"{NET}/{name}/ifindex") or 0), name) for name in names)
    inet6 = machine.read_or_none("/proc/net/if_inet6") or ""
    return Network(
        interfaces=tuple(one for _, name in found for one in _interface(machine, name)),
        rdma=tuple(_rdma(machine)),
        ipv6_loopback=any(line.startswith("0" * 31 + "1 ") for line in inet6.splitlines()),
    )


def _interface(machine: Machine, name: str) -> Iterator[Interface]:
    flags = machine.read_or_none(f"{NET}/{name}/flags")
    mtu = machine.read_or_none(f"{NET}/{name}/mtu")
    if flags is None or mtu is None:  # a plain file such as `bonding_masters`
        return
    yield Interface(
        name=name,
        up=bool(int(flags, 16) & UP),
        mtu=int(mtu),
        loopback=bool(int(flags, 16) & LOOPBACK),
        physical=machine.path(f"{NET}/{name}/device").exists(),
        address=_address(name),
    )


def _address(name: str) -> str | None:
    """Asked of the kernel by `ioctl`, because no file tells it and slim images have no `ip`."""
    request = struct.pack("256s", name.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            address = fcntl.ioctl(any_socket, SIOCGIFADDR, request)[20:24]
            mask = fcntl.ioctl(any_socket, SIOCGIFNETMASK, request)[20:24]
        except OSError:
            return None
    return f"{socket.inet_ntoa(address)}/{bin(int.from_bytes(mask, 'big')).count('1')}"


def _rdma(machine: Machine) -> Iterator[RdmaPort]:
    for device in machine.names(RDMA):
        for port in machine.names(f"{RDMA}/{device}/ports"):
            folder = f"{RDMA}/{device}/ports/{port}"
            state = machine.read_or_none(f"{folder}/state") or ""
            rate = (machine.read_or_none(f"{folder}/rate") or "").split(" ")[0]
            yield RdmaPort(
                device=device,
                port=int(port),
                state=state.partition(":")[2].strip() or "unknown",
                layer=machine.read_or_none(f"{folder}/link_layer") or "unknown",
                rate=float(rate) if rate.replace(".", "", 1).isdigit() else None,
                gids=tuple(
                    sorted(int(index) for index in machine.names(f"{folder}/gids") if _is_set(machine, folder, index))
                ),
            )


def _is_set(machine: Machine, folder: str, index: str) -> bool:
    gid = machine.read_or_none(f"{folder}/gids/{index}") or NO_ADDRESS
    return gid.replace("fe80", "0000", 1) != NO_ADDRESS
