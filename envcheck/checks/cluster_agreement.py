"""What must be alike on all nodes of a cluster; the odd node is named."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import TYPE_CHECKING, Callable

from envcheck.check import Outcome, Status, check, fail, unknown, warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envcheck.check import Verdict
    from envcheck.sections.cluster import Cluster

COMPUTING = re.compile(r"torch|numpy|triton|lightning|pytorch-(lightning|ignite)|nvidia-.+")
"""Packages that decide what is computed, or speak to each other."""
MOST_NAMED = 5


@check("CLU002", remedy="install the same torch on {host}: python -m pip install torch=={wanted}", modes=("F65",))
def torch_is_the_same(cluster: Cluster) -> Outcome:
    """torch has one version on all hosts.

    Two versions may speak different protocols and lay out buckets differently: a hang, or wrong gradients.
    """
    return _alike(cluster, "torch")


@check("CLU003", remedy="install {wanted} on {host}: the NCCL that its torch was released with", modes=("F65",))
def nccl_is_the_same(cluster: Cluster) -> Outcome:
    """NCCL has one version on all hosts: "mismatched NCCL version", or a hang in the first collective.

    NCCL talks to itself on the other hosts in a protocol that changes from one version to the next.
    """
    return _alike(cluster, "nccl")


@check("CLU004", remedy="bring the driver of {host} to {wanted}", severity=Status.WARN, modes=("F65",))
def driver_is_the_same(cluster: Cluster) -> Outcome:
    """The NVIDIA driver has one version on all hosts.

    Others work mostly; what they can do, and how fast, differs with each.
    """
    return _alike(cluster, "driver", warn)


@check("CLU005", remedy="bring the kernel of {host} to {wanted}, and reboot", severity=Status.WARN, modes=("F65",))
def kernel_is_the_same(cluster: Cluster) -> Outcome:
    """The kernel has one version on all hosts.

    Network and GPU drivers belong to it: a node that was not rebooted after an update is the odd one.
    """
    return _alike(cluster, "kernel", warn)


@check(
    "CLU006", remedy="leave {host} out, or give it what the others have: {wanted}", severity=Status.WARN, modes=("F65",)
)
def hardware_and_python_are_the_same(cluster: Cluster) -> Outcome:
    """All hosts have the same GPUs, and the same Python and C library.

    The slowest GPU sets the pace of all; objects pickled by one Python may not be read by another.
    """
    for what, verdict in (("python", fail), ("gpus", warn), ("glibc", warn)):
        found = _alike(cluster, what, verdict)
        if found:
            return found
    return None


@check("CLU007", remedy="sudo ip link set dev INTERFACE mtu {wanted}   # on {host}, and on the switch", modes=("F61",),
       severity=Status.WARN)  # fmt: skip
def packet_size_is_the_same(cluster: Cluster) -> Outcome:
    """The way to the other hosts has one MTU everywhere.

    Where it differs small messages pass and large ones vanish: the job meets, and hangs in its first all-reduce.
    """
    return _odd({node.host: str(node.mtu) for node in cluster.nodes if node.mtu}, "an MTU of", warn)


@check(
    "CLU009",
    remedy="copy the job's folder to {host} anew, or bring it to the others' commit: git status",
    modes=("F67",),
)
def code_is_the_same(cluster: Cluster) -> Outcome:
    """The job's folder has one commit, and the same changes since, on all hosts.

    Two versions of a model in one job give a shape error at best, and a loss that does not fall at worst.
    """
    identities = {node.host: node.identity for node in cluster.nodes if node.identity}
    commits = {host: (one.commit or "none")[:12] for host, one in identities.items()}
    return _odd(commits, "commit", fail) or _odd(
        {host: one.changes or "none" for host, one in identities.items()}, "changes since the commit:", fail
    )


@check("CLU010", remedy="copy the lock file to {host} and install by it", modes=("F65",))
def locks_are_the_same(cluster: Cluster) -> Outcome:
    """The lock files of the job's folder are the same on all hosts.

    Hosts that install from different locks drift apart, and the difference shows only in a library nobody looked at.
    """
    return _first_odd({node.host: node.identity.locks for node in cluster.nodes if node.identity}, "none", fail)


@check("CLU011", remedy="copy the data to {host} anew, and compare again", modes=("F77",))
def data_are_the_same(cluster: Cluster) -> Outcome:
    """The data sets that were named are the same on all hosts.

    One half-copied set trains on fewer samples, or gives its ranks fewer steps: the last all-reduce never ends.
    """
    return _first_odd({node.host: node.identity.data for node in cluster.nodes if node.identity}, "none", fail)


@check("CLU015", remedy="set them alike on {host}, in what a command over ssh reads (~/.bashrc, /etc/environment)",
       severity=Status.WARN, modes=("F66",))  # fmt: skip
def variables_are_the_same(cluster: Cluster) -> Outcome:
    """The variables that steer collectives are the same on all hosts.

    NCCL_ALGO or NCCL_PROTO on one node only: the nodes choose different algorithms, and wait for each other.
    """
    return _first_odd({node.host: node.environment for node in cluster.nodes if not node.failure}, "not set", warn)


@check("CLU017", remedy="install by one lock file on all hosts; on {host}: python -m pip install '{wanted}'",
       modes=("F65",))  # fmt: skip
def packages_are_the_same(cluster: Cluster) -> Outcome:
    """All installed packages have one version on all hosts.

    Of those that compute, or speak to each other, another version is a fault: a hang, or other numbers.
    """
    there = {node.host: node.packages for node in cluster.nodes if node.packages}
    names = sorted({name for one in there.values() for name in one})
    found = []
    for name in sorted(names, key=lambda name: not COMPUTING.fullmatch(name)):
        told = {host: f"{name}=={one[name]}" if name in one else f"no {name}" for host, one in there.items()}
        found += [odd] if (odd := _odd(told, "", fail if COMPUTING.fullmatch(name) else warn)) else []
    more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    saw = "; ".join(odd.saw for odd in found[:MOST_NAMED]) + more
    return dataclasses.replace(found[0], saw=saw) if found else None


def _alike(cluster: Cluster, what: str, verdict: Callable[..., Verdict] = fail) -> Verdict | None:
    there = {node.host: node.seen.get(what, "") for node in cluster.nodes if not node.failure}
    if not there:
        return unknown("no host answered")
    return _odd({host: value or "none" for host, value in there.items()}, what, verdict)


def _first_odd(
    told: Mapping[str, Mapping[str, str]], otherwise: str, verdict: Callable[..., Verdict]
) -> Verdict | None:
    """Of what each host tells by name, the first that is not alike; `otherwise` is the value where a host has none."""
    for name in sorted({name for one in told.values() for name in one}):
        odd = _odd({host: one.get(name, otherwise) for host, one in told.items()}, f"{name}:", verdict)
        if odd:
            return odd
    return None


def _odd(values: Mapping[str, str], what: str, verdict: Callable[..., Verdict]) -> Verdict | None:
    """None where all values are alike; else the hosts that differ from most, or from the first where none is most."""
    counts = Counter(values.values())
    if len(counts) < 2:
        return None
    common = counts.most_common(1)[0][0]
    odd = {host: value for host, value in values.items() if value != common}
    others = sum(value == common for value in values.values())
    saw = ", ".join(f"{host} has {what} {value}".replace("  ", " ") for host, value in odd.items())
    return verdict(
        f"{saw}; the other{'s have' if others > 1 else ' has'} {common}", host=next(iter(odd)), wanted=common
    )
