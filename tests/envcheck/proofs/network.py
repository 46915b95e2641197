"""Faults of names, ports and cards, in network namespaces of their own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from envcheck.check import Status
from envcheck.facts import Facts
from tests.envcheck.bench import Bench, real_facts
from tests.envcheck.namespaces import card, hosts, network
from tests.envcheck.paper_system import rdma_port, system
from tests.envcheck.proof import Proof, fake, natural

NAMESPACES = ("unshare", "ip", "namespaces")
TWO = ["--nodes", "2"]
NAMED = "hostname node-a"
LOCAL = "127.0.0.1 localhost"
LAN = card("net0", "10.9.0.1/24")
PEER = (
    "ip netns add peer; ip link set p-net0 netns peer; ip -n peer addr add 10.9.0.2/24 dev p-net0; "
    "ip -n peer link set p-net0 up"
)
SILENT = "ip neigh add {} lladdr 02:00:00:00:00:01 dev net0"
"""Somebody who takes every packet and never answers, like a firewall that drops."""
DEAD_RESOLVER = (
    "printf 'hosts: files dns\\n' > /mnt/nsswitch; printf 'nameserver 10.9.0.53\\n' > /mnt/resolv; "
    "mount --bind /mnt/resolv /etc/resolv.conf"
)


def setup(*steps: str, environ: dict[str, str] | None = None, options: list[str] = TWO) -> dict[str, object]:
    return {"wrapper": network(*steps), "environ": environ or {}, "options": options}


@contextlib.contextmanager
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def port_held(told: bool) -> Callable[[Bench], Facts]:
    def seen(bench: Bench) -> Facts:
        with listener() as port:
            if told:
                return real_facts(options=["--rendezvous", f"localhost:{port}", "--select", "NET004"])
        return real_facts(options=["--rendezvous", f"localhost:{port}", "--select", "NET004"])

    return seen


def roce(bench: Bench) -> None:
    bench.environ["NCCL_IB_GID_INDEX"] = "3"
    system(bench)
    rdma_port(bench, layer="Ethernet")
    for index in range(3):
        bench.file(f"/sys/class/infiniband/mlx5_0/ports/1/gids/{index}", "fe80:0000:0000:0000:5e25:73ff:fe00:0001")
    gid(bench, "0000:0000:0000:0000:0000:ffff:0a09:0001")


def gid(bench: Bench, address: str) -> None:
    bench.file("/sys/class/infiniband/mlx5_0/ports/1/gids/3", address)


def four_ports(bench: Bench) -> None:
    system(bench)
    for number in range(4):
        rdma_port(bench, f"mlx5_{number}")


PROOFS = [
    natural("NET001", "F52", "127.0.1.1 node-a in /etc/hosts", "node-a is 127.0.1.1", needs=NAMESPACES,
            fault=setup(NAMED, hosts(f"{LOCAL}\n127.0.1.1 node-a")),
            healthy=setup(NAMED, hosts(f"{LOCAL}\n10.9.0.1 node-a"))),
    natural("NET002", "F53", "a hosts file without this machine", "node-a:", needs=NAMESPACES,
            fault=setup(NAMED, hosts(LOCAL)), healthy=setup(NAMED, hosts(f"{LOCAL}\n10.9.0.1 node-a"))),
    natural("NET003", "F53", "a DNS server that never answers", "the resolver gave no answer for 10.9.0.1",
            needs=NAMESPACES,
            fault=setup(NAMED, LAN, SILENT.format("10.9.0.53"), hosts(f"{LOCAL}\n10.9.0.1 node-a"), DEAD_RESOLVER),
            healthy=setup(NAMED, LAN, hosts(f"{LOCAL}\n10.9.0.1 node-a"))),
    Proof("NET004", "F54", "N", "a socket that listens at the port", "is held by pid",
          port_held(True), port_held(False), Status.FAIL),
    natural("NET005", "F55", "a host that never answers", "10.9.0.2:29500: no answer", needs=NAMESPACES,
            fault=setup(LAN, SILENT.format("10.9.0.2"), options=["--rendezvous", "10.9.0.2:29500"]),
            healthy=setup(LAN, PEER, options=["--rendezvous", "10.9.0.2:29500"])),
    natural("NET005", "F55", "a name that nobody knows", "head-node:", needs=NAMESPACES,
            fault=setup(LAN, PEER, hosts(LOCAL), options=["--rendezvous", "head-node:29500"]),
            healthy=setup(LAN, PEER, hosts("10.9.0.2 head-node"), options=["--rendezvous", "head-node:29500"])),
    natural("NET006", "F56", "GLOO_SOCKET_IFNAME of another machine", "GLOO_SOCKET_IFNAME=nosuch0 names no interface",
            fault={"environ": {"GLOO_SOCKET_IFNAME": "nosuch0"}}, healthy={"environ": {"GLOO_SOCKET_IFNAME": "lo"}}),
    natural("NET006", "F56", "an address in NCCL_SOCKET_IFNAME", "an address, where a name belongs",
            fault={"environ": {"NCCL_SOCKET_IFNAME": "10.9.0.1"}}, healthy={"environ": {"NCCL_SOCKET_IFNAME": "=lo"}}),
    natural("NET007", "F57", "GLOO_SOCKET_IFNAME=^lo", "GLOO_SOCKET_IFNAME=^lo",
            fault={"environ": {"GLOO_SOCKET_IFNAME": "^lo"}}, healthy={"environ": {"GLOO_SOCKET_IFNAME": "lo"}}),
    natural("NET008", "F58", "a bridge of virtual machines beside the card", "NCCL takes virbr0 too", needs=NAMESPACES,
            fault=setup(card("virbr0", "192.168.122.1/24"), LAN),
            healthy=setup(card("docker0", "172.17.0.1/16"), LAN)),
    natural("NET008", "F58", "NCCL_SOCKET_IFNAME=docker0", "takes docker0", needs=NAMESPACES,
            fault=setup(card("docker0", "172.17.0.1/16"), LAN, environ={"NCCL_SOCKET_IFNAME": "docker0"}),
            healthy=setup(card("docker0", "172.17.0.1/16"), LAN, environ={"NCCL_SOCKET_IFNAME": "net0"})),
    natural("NET009", "F59", "two cards in 10.9.0.0/24", "net0 (10.9.0.1/24) and net1 (10.9.0.7/24)", needs=NAMESPACES,
            fault=setup(LAN, card("net1", "10.9.0.7/24")), healthy=setup(LAN, card("net1", "10.9.1.7/24"))),
    natural("NET010", "F60", "bond0 beside bond0.2093", "takes bond0 and bond0.2093", needs=NAMESPACES,
            fault=setup(card("bond0", "10.9.0.1/24"), card("bond0.2093", "10.9.1.1/24"),
                        environ={"NCCL_SOCKET_IFNAME": "bond0"}),
            healthy=setup(card("bond0", "10.9.0.1/24"), card("bond0.2093", "10.9.1.1/24"),
                          environ={"NCCL_SOCKET_IFNAME": "=bond0"})),
    fake("NET012", "F62", "an empty address at NCCL_IB_GID_INDEX", "index 3 of mlx5_0 port 1 is empty",
         base=roce, plant=lambda bench: gid(bench, "0000:0000:0000:0000:0000:0000:0000:0000")),
    fake("NET013", "F89", "one of four ports at a quarter of its rate", "mlx5_1 port 1 runs at 100 Gb/s",
         base=four_ports, plant=lambda bench: rdma_port(bench, "mlx5_1", rate="100 Gb/sec (4X EDR)")),
    fake("NET013", "F89", "one of four ports down", "mlx5_1 port 1 is DOWN",
         base=four_ports, plant=lambda bench: rdma_port(bench, "mlx5_1", state="1: DOWN")),
    natural("NET014", "F63", "a proxy without exceptions", "http_proxy is set, and no_proxy does not name",
            fault={"environ": {"http_proxy": "http://proxy:3128", "no_proxy": "", "NO_PROXY": ""}},
            healthy={"environ": {"http_proxy": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1"}}),
    natural("NET015", "F63", "only ::1 localhost, and IPv6 switched off", "localhost is ::1, and IPv6 is off",
            needs=NAMESPACES, fault=setup("ip addr flush dev lo", hosts("::1 localhost")),
            healthy=setup(hosts("::1 localhost"))),
]  # fmt: skip
