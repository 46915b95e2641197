"""The nodes of a cluster: whether each can be reached, and reaches the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, check, fail, fine, unknown, warn

if TYPE_CHECKING:
    from envcheck.sections.cluster import Cluster

EVICTED, LATE = 10.0, 1.0
"""Seconds: torchrun forgets a peer whose last sign of life seems 15 s old; signs come every 5 s."""
REMEDIES = {
    "Permission denied": "ssh-copy-id {host}   # and try: ssh -o BatchMode=yes {host} true",
    "Host key verification": "ssh {host} true   # once by hand, to accept its key",
    "Could not resolve": "correct the name, or write it into /etc/hosts or ~/.ssh/config",
    "python3": "install Python 3.9 or later on {host}, so that `python3` is found by a command over ssh",
}


@check("CLU001", remedy="{remedy}", modes=("F68",))
def every_host_answers(cluster: Cluster) -> Outcome:
    """Every host can be reached over ssh without a password, and has Python 3.9 or later.

    A launcher that starts nodes over ssh cannot type one; the other hosts are judged all the same.
    """
    silent = [node for node in cluster.nodes if node.failure]
    if not silent:
        return None
    told = next((text for word, text in REMEDIES.items() if word in (silent[0].failure or "")), "ssh -v {host} true")
    saw = "; ".join(f"{node.host}: {node.failure}" for node in silent)
    return fail(saw, remedy=told.format(host=silent[0].host.partition("#")[0]))


@check("CLU008", remedy="sudo chronyc makestep   # on {host}; first: sudo apt-get install chrony", modes=("F64",))
def clocks_agree(cluster: Cluster) -> Outcome:
    """The clocks of all hosts agree.

    torchrun compares its own clock with the times other nodes wrote: a peer 15 s behind counts as dead and is thrown
    out, alive and without a reason. Seen over ssh, so to a second or so.
    """
    clocks = {node.host: node.clock for node in cluster.nodes if node.clock is not None and not node.failure}
    if len(clocks) < 2:
        return unknown("fewer than two hosts told their time")
    # of two, the one nearer to the asking machine's clock counts as right
    middle = sorted(clocks.values())[(len(clocks) - 1) // 2] if len(clocks) > 2 else min(clocks.values(), key=abs)
    away = {host: clock - middle for host, clock in clocks.items() if abs(clock - middle) >= LATE}
    if not away:
        return None
    saw = ", ".join(f"{host} is {abs(off):.1f} s {'ahead' if off > 0 else 'behind'}" for host, off in away.items())
    furthest = max(away, key=lambda host: abs(away[host]))
    return (fail if abs(away[furthest]) > EVICTED else warn)(f"of the clocks, {saw}", host=furthest)


@check(
    "CLU012",
    remedy="open all TCP ports between the nodes, NCCL and gloo take any; on {to}: sudo ufw allow from {host}",
    modes=("F55",),
)
def ports_are_open_both_ways(cluster: Cluster) -> Outcome:
    """Every host can connect to a free port of every other one.

    Rendezvous goes one way only, collectives go every way: with one direction closed a job starts, and then hangs.
    """
    shut = [(node.host, peer, said) for node in cluster.nodes for peer, said in node.ports.items() if said != "ok"]
    if shut:
        saw = "; ".join(f"{host} -> {peer}: {said}" for host, peer, said in shut[:4])
        return fail(saw, host=shut[0][0], to=shut[0][1])
    return None if any(node.ports for node in cluster.nodes) else unknown("no two hosts could be tried")


@check(
    "CLU013",
    remedy="write all hosts into /etc/hosts on {host}, with the addresses of the cluster's network",
    modes=("F53",),
)
def names_can_be_resolved_everywhere(cluster: Cluster) -> Outcome:
    """Every host resolves every other host's name, to an address that leads away from itself.

    A name that only the head knows ends on the others in "gaierror", one that is 127.0.1.1 in a hang.
    """
    for node in cluster.nodes:
        for peer, address in node.names.items():
            reached = node.ports.get(peer) == "ok"  # by another address: a launcher that knows it does without the name
            if ": " in address:
                return (warn if reached else fail)(f"on {node.host}: {address}", host=node.host)
            if address.startswith("127.") and not _same_machine(cluster, node.host, peer):
                return fail(f"on {node.host}, {peer} is {address}", host=node.host)
    return None if any(node.names for node in cluster.nodes) else unknown("no two hosts could be tried")


@check("CLU014", remedy="name each machine once", modes=("F17",))
def no_machine_is_named_twice(cluster: Cluster) -> Outcome:
    """No two of the names are one machine.

    Both nodes would then take the same GPUs: "Duplicate GPU detected".
    """
    machines: dict[str, list[str]] = {}
    for node in cluster.nodes:
        if node.identity:
            machines.setdefault(node.identity.machine, []).append(node.host)
    if not machines:
        return unknown("no host told which machine it is")
    twins = [f"{' and '.join(hosts)} are one machine" for hosts in machines.values() if len(hosts) > 1]
    return "; ".join(twins) or None


@check(
    "CLU016",
    remedy="mount the same file system at this path on {host}, or choose a folder that is shared",
    modes=("F73",),
)
def run_folder_is_shared(cluster: Cluster) -> Outcome:
    """Every host sees the files that the others write into the run folder.

    Tried with a file from each: a folder of the same name on each disk looks right until a resume.
    """
    there = [node for node in cluster.nodes if not node.failure]
    if all(node.shared is None for node in there):
        return fine("no run folder was named: nothing to judge")
    for node in there:
        if node.shared is None:
            continue
        missing = [other.host for other in there if other.host not in node.shared]
        if missing:
            return fail(f"{node.host} does not see what {', '.join(missing)} wrote", host=node.host)
    return None


def _same_machine(cluster: Cluster, one: str, other: str) -> bool:
    machines = {node.host: node.identity.machine for node in cluster.nodes if node.identity}
    return one in machines and machines[one] == machines.get(other)
