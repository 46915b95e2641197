"""Names and the meeting point: whether the processes of a job can find each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, unknown, warn

if TYPE_CHECKING:
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need
    from envcheck.sections.network import Names, Network, Rendezvous

SLOW_SECONDS = 1.0
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ONE_MACHINE = "all processes are on one machine: nothing to judge"
NOT_BY_NAME = "the launcher chooses address and interface, the name plays no part: nothing to judge"


@check(
    "NET001",
    remedy="give {name} its routable address in /etc/hosts, or tell torchrun: --local-addr IP, and gloo: "
    "export GLOO_SOCKET_IFNAME=eth0",
    modes=("F52",),
)
def own_name_is_not_loopback(names: Names, need: Need, environment: Environment) -> Outcome:
    """For a job of several nodes, this machine's name is not a loopback address.

    Debian writes 127.0.1.1 into /etc/hosts. gloo and torchrun tell the other nodes that address, which then knock at
    their own doors: "connectFullMesh failed", or a hang.
    """
    if need.on_one_machine:
        return fine(ONE_MACHINE)
    if need.interface_chosen:
        return fine(NOT_BY_NAME)
    if not names.addresses or not all(_is_loopback(one) for one in names.addresses):
        return None
    saw = f"{names.hostname} is {', '.join(names.addresses)}"
    told = need.device == "cuda" or environment.get("GLOO_SOCKET_IFNAME")  # NCCL does not go by the name
    return (warn if told else fail)(saw, name=names.hostname)


@check("NET002", remedy="add a line to /etc/hosts: {line}", modes=("F53",))
def own_name_can_be_resolved(names: Names, need: Need) -> Outcome:
    """This machine's name can be resolved, the short one and the full one.

    torchrun announces `socket.getfqdn()` to the other nodes; a name that nobody resolves ends in a bare
    "gaierror: Name or service not known", without the name.
    """
    saw = f"{names.hostname}: {names.failure}" if names.failure else names.fqdn_failure
    if saw is None:
        return None
    by_name = not need.on_one_machine and not need.interface_chosen
    verdict = fail if names.failure and by_name else warn  # `--local-addr` spares the full one
    return verdict(saw, line=f"$(hostname -I | cut -d' ' -f1) {names.hostname}")


@check(
    "NET003",
    remedy="take the dead server out of /etc/resolv.conf, or write `hosts: files` into /etc/nsswitch.conf",
    severity=Status.WARN,
    modes=("F53",),
)
def reverse_lookups_are_quick(names: Names) -> Outcome:
    """The question whose address this is has a quick answer, be it "nobody's".

    torch's store asks it at every connection: with a DNS server that does not answer, each costs 10 s, in silence.
    """
    if names.reverse is None:
        return unknown(f"{names.hostname} has no IPv4 address to ask for")
    if names.reverse_seconds is None:
        return f"the resolver gave no answer for {names.reverse} within 2 s"
    if names.reverse_seconds > SLOW_SECONDS:
        return f"the resolver took {names.reverse_seconds:.1f} s for {names.reverse}"
    return None


@check("NET004", remedy="choose another port, or end the one who holds it: {holder}", modes=("F54",))
def rendezvous_port_is_free(rendezvous: Rendezvous, need: Need) -> Outcome:
    """The port at which the job meets is free on the node that will open it.

    "Address already in use (errno 98)": mostly torchrun of an earlier job that did not end.
    """
    if not rendezvous.here or need.node_rank not in (None, 0):
        return fine("the meeting point is on another node: nothing to judge")
    if rendezvous.holder is None:
        return None
    told = need.rendezvous_port is not None
    saw = f"port {rendezvous.port} is held by {rendezvous.holder}" + ("" if told else ", and it is torchrun's default")
    return (fail if told else warn)(saw, holder=rendezvous.holder)


@check(
    "NET005",
    remedy="correct the name, or open the port for the nodes: sudo ufw allow from NODES to any port {port} "
    "(and the data ports: NCCL and gloo choose theirs freely)",
    modes=("F55",),
)
def rendezvous_host_answers(rendezvous: Rendezvous) -> Outcome:
    """The host at which the job meets can be found and reached from here.

    A refusal is a good answer before the job starts; no answer at all is a firewall, and the job would hang.
    """
    if rendezvous.failure:
        return fail(f"{rendezvous.host}: {rendezvous.failure}", port=rendezvous.port)
    if rendezvous.here or rendezvous.answer in ("accepted", "refused"):
        return None
    return fail(f"{rendezvous.host}:{rendezvous.port}: {rendezvous.answer}", port=rendezvous.port)


@check(
    "NET014",
    remedy="export no_proxy={wanted}",
    severity=Status.WARN,
    modes=("F63",),
)
def proxies_leave_local_traffic_alone(environment: Environment, need: Need) -> Outcome:
    """Proxy variables make an exception for this machine and the meeting point.

    A tracker, an etcd store or a metrics page on localhost is otherwise asked for at the proxy, which knows nothing.
    """
    used = [name for name in PROXIES if environment.get(name)]
    if not used:
        return None
    excepted = (environment.get("no_proxy") or environment.get("NO_PROXY")).replace(" ", "").split(",")
    local = {"localhost", "127.0.0.1", "127.0.0.0/8"}
    missing = [] if local & set(excepted) or "*" in excepted else ["localhost", "127.0.0.1"]
    if missing:
        wanted = ",".join([*filter(None, excepted), *missing])
        return warn(f"{used[0]} is set, and no_proxy does not name {' nor '.join(missing)}", wanted=wanted)
    return None


@check("NET015", remedy="write `127.0.0.1 localhost` into /etc/hosts", modes=("F63",))
def localhost_is_this_machine(names: Names, network: Network) -> Outcome:
    """`localhost` is a loopback address that this machine has.

    Where it is only ::1 and IPv6 is switched off, everything of one node that meets at localhost fails.
    """
    if not names.localhost:
        return fail("localhost cannot be resolved")
    usable = [one for one in names.localhost if _is_loopback(one) and (one != "::1" or network.ipv6_loopback)]
    if usable:
        return None
    ipv6 = "" if network.ipv6_loopback else ", and IPv6 is off"
    return fail(f"localhost is {', '.join(names.localhost)}{ipv6}")


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
