"""Network cards: which ones NCCL and gloo would take, and whether RDMA ports are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need
    from envcheck.sections.network import Interface, Network

OF_NCCL = ("NCCL_SOCKET_IFNAME",)
OF_GLOO = ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
SOFTWARE_ONLY = (
    "docker", "br-", "virbr", "veth", "vnet", "tun", "tap", "wg", "tailscale", "zt", "cni", "flannel", "cali",
    "podman", "lxcbr", "lxdbr", "nerdctl", "vmnet", "dummy", "kube-",
)  # fmt: skip
LEFT_OUT = "^docker,lo"
"""What NCCL takes where nothing is said."""
FEW = 3
"""An odd port has at least this many healthy siblings."""
ONE_MACHINE = "all processes are on one machine: nothing to judge"


@check("NET006", remedy="export {variable}={wanted}   # those that are up: {up}", modes=("F56",))
def named_interfaces_exist(environment: Environment, network: Network, need: Need) -> Outcome:
    """Every interface that a variable names exists, is up and has an address.

    A name of the old machine, or an address in place of a name, ends in "Bootstrap : no socket interface found" or
    gloo's "Unable to find address for: eth1".
    """
    able = [one.name for one in network.interfaces if one.up]
    routed = [one.name for one in _routed(network)] or able
    values = {"wanted": (routed or ["eth0"])[0], "up": ", ".join(able)}
    for variable in (*OF_NCCL, *OF_GLOO):
        value = environment.get(variable)
        of_another_use = (need.device == "cpu") if variable in OF_NCCL else (value[:1] in ("^", "="))
        if not value or of_another_use:
            continue
        found = _as_nccl_picks(value, able) if variable in OF_NCCL else [one for one in value.split(",") if one in able]
        if not found or (variable in OF_GLOO and len(found) < len(value.split(","))):
            hint = ": an address, where a name belongs" if value.replace(".", "").isdigit() else ""
            return fail(f"{variable}={value} names no interface that is up{hint}", variable=variable, **values)
    return None


@check("NET007", remedy="export {variable}={wanted}", modes=("F57",))
def gloo_gets_plain_names(environment: Environment, network: Network) -> Outcome:
    """gloo and TensorPipe get plain interface names.

    `^lo` (all but) and `=eth0` (exactly) are NCCL's language; gloo looks for an interface of that very name.
    """
    routed = [one.name for one in _routed(network)]
    for variable in OF_GLOO:
        value = environment.get(variable)
        if value[:1] in ("^", "="):
            wanted = value[1:] if value[0] == "=" else (routed or ["eth0"])[0]
            return fail(f"{variable}={value}", variable=variable, wanted=wanted)
    return None


@check(
    "NET008",
    remedy="export NCCL_SOCKET_IFNAME=={wanted} GLOO_SOCKET_IFNAME={wanted}",
    severity=Status.WARN,
    modes=("F58",),
)
def bridges_and_tunnels_are_not_taken(environment: Environment, network: Network, need: Need) -> Outcome:
    """NCCL would not take a bridge, a tunnel or a container's end of one.

    The address of a bridge is the same on every host and leads nowhere; a VPN leads there slowly.
    """
    if need.on_one_machine:
        return fine(ONE_MACHINE)
    able = _routed(network)
    names = [one.name for one in able]
    wanted = [name for name in names if not name.startswith(SOFTWARE_ONLY)]
    for variable in (*OF_NCCL, *OF_GLOO):
        value = environment.get(variable)
        chosen = _as_nccl_picks(value, names) if variable in OF_NCCL and value else value.split(",")
        bad = [name for name in chosen if name.startswith(SOFTWARE_ONLY) and name in names]
        if bad:
            return warn(f"{variable}={value} takes {', '.join(bad)}", wanted=(wanted or ["eth0"])[0])
    if environment.get("NCCL_SOCKET_IFNAME") or need.interface_chosen or not wanted:
        return None
    taken = [name for name in _as_nccl_picks(LEFT_OUT, names) if name.startswith(SOFTWARE_ONLY)]
    if taken:
        return warn(f"NCCL_SOCKET_IFNAME is not set, so NCCL takes {', '.join(taken)} too", wanted=wanted[0])
    return None


@check(
    "NET009",
    remedy="export NCCL_SOCKET_IFNAME=={one}, or give each card a network of its own",
    severity=Status.WARN,
    modes=("F59",),
)
def cards_have_networks_of_their_own(environment: Environment, network: Network, need: Need) -> Outcome:
    """No two cards share one IP network.

    The kernel then answers for both on either: connections leave by one card and are expected at the other.
    """
    if need.on_one_machine:
        return fine(ONE_MACHINE)
    if need.interface_chosen and not environment.get("NCCL_SOCKET_IFNAME"):
        return fine("the launcher chooses one interface: nothing to judge")
    able = _routed(network)
    names = [one.name for one in able]
    chosen = _as_nccl_picks(environment.get("NCCL_SOCKET_IFNAME") or LEFT_OUT, names)
    seen: dict[str, Interface] = {}
    for one in able:
        if one.name not in chosen:
            continue
        other = seen.setdefault(_network_of(one.address or ""), one)
        if other is not one:
            saw = f"{other.name} ({other.address}) and {one.name} ({one.address}) are in one network"
            return warn(saw, one=other.name)
    return None


@check("NET010", remedy="export NCCL_SOCKET_IFNAME=={name}", severity=Status.WARN, modes=("F60",))
def exact_name_takes_one_interface(environment: Environment, network: Network) -> Outcome:
    """The name of one interface does not also take others that begin so.

    NCCL takes every name that begins with the word: `bond0` takes `bond0.2093`, a network for something else.
    """
    value = environment.get("NCCL_SOCKET_IFNAME")
    names = [one.name for one in network.interfaces if one.up]
    for word in value.split(","):
        if word in names and value[0] not in "^=":
            others = [name for name in names if name.startswith(word) and name != word]
            if others:
                return warn(f"NCCL_SOCKET_IFNAME={value} takes {word} and {', '.join(others)}", name=word)
    return None


@check(
    "NET012",
    remedy="unset NCCL_IB_GID_INDEX (NCCL 2.21 and later find it), or choose one that is set: {indices}",
    modes=("F62",),
)
def gid_index_is_set(environment: Environment, network: Network, need: Need) -> Outcome:
    """The address index that NCCL is told to use is set on every active RoCE port.

    It differs between hosts by the order in which addresses came up: "ibv_modify_qp failed with error 61".
    """
    index = environment.get("NCCL_IB_GID_INDEX")
    if not index.isdigit() or need.device == "cpu":
        return None
    cards = environment.get("NCCL_IB_HCA")
    for port in network.rdma:
        if cards and not _is_chosen(port.device, cards):
            continue
        if port.state == "ACTIVE" and port.layer == "Ethernet" and int(index) not in port.gids:
            indices = ", ".join(map(str, port.gids)) or "none is"
            return fail(f"index {index} of {port.device} port {port.port} is empty", indices=indices)
    return None


@check(
    "NET013",
    remedy="seat or change the cable of {device}: ibstat {device}; ibdiagnet, or leave it out: "
    "export NCCL_IB_HCA=^{device}",
    severity=Status.WARN,
    modes=("F89",),
)
def rdma_ports_are_up_and_alike(network: Network, environment: Environment) -> Outcome:
    """No InfiniBand port is down or slower, where most of its siblings are not.

    A port that came up at a quarter of its rate makes every ring through it four times slower. Second ports without a
    cable and slower cards for storage are usual, so only the odd one among many is named.
    """
    chosen = [one for one in network.rdma if one.layer == "InfiniBand"]
    if environment.get("NCCL_IB_HCA"):
        chosen = [one for one in chosen if _is_chosen(one.device, environment.get("NCCL_IB_HCA"))]
    active = [one for one in chosen if one.state == "ACTIVE"]
    down = [one for one in chosen if one.state != "ACTIVE"]
    if down and len(active) >= FEW * len(down):
        return warn(f"{down[0].device} port {down[0].port} is {down[0].state}", device=down[0].device)
    best = max((one.rate or 0.0 for one in active), default=0.0)
    slow = [one for one in active if one.rate and one.rate < best]
    if slow and len(active) - len(slow) >= FEW * len(slow):
        saw = f"{slow[0].device} port {slow[0].port} runs at {slow[0].rate:g} Gb/s, others at {best:g}"
        return warn(saw, device=slow[0].device)
    return None


def _routed(network: Network) -> list[Interface]:
    """The interfaces that can lead to another machine."""
    return [one for one in network.interfaces if one.up and one.address and not one.loopback]


def _as_nccl_picks(value: str, names: Sequence[str]) -> list[str]:
    """NCCL's language: words separated by commas, `=` exact in place of prefix, `^` all but these, `^=` both."""
    excluding, rest = value.startswith("^"), value.lstrip("^")
    exact, words = rest.startswith("="), [word for word in rest.lstrip("=").split(",") if word]
    return [name for name in names if any(_matches(name, words, exact)) != excluding]


def _matches(name: str, words: Sequence[str], exact: bool) -> Iterator[bool]:
    for word in words:
        yield name == word if exact else name.startswith(word)


def _is_chosen(device: str, value: str) -> bool:
    words = ",".join(word.partition(":")[0] for word in value.split(","))
    return bool(_as_nccl_picks(words, [device]))


def _network_of(address: str) -> str:
    host, _, length = address.partition("/")
    number = int.from_bytes(bytes(int(part) for part in host.split(".")), "big")
    return f"{number >> (32 - int(length))}/{length}" if length not in ("", "32") else host
