"""Whether nodes fit together for a run, by what was seen on each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envcheck import checks
from envcheck.check import Status, judge
from envcheck.facts import Facts
from envcheck.sections.cluster import Cluster, Identity, Node
from launcher.cluster.probe import FULL_PACKETS
from launcher.cluster.survey import Seen
from launcher.errors import EnvironmentUnfit
from launcher.plan import Machine

OLDEST_PYTHON = (3, 11)
BETWEEN = ("CLU008", "CLU014")
"""envcheck's checks of what lies between the nodes: clocks, and one machine under two names."""
FREE_WARNING = 1 << 30
FREE_LIMIT = 64 << 20
"""Bytes that must be free for logs and checkpoints."""
SLOW_LOOK_UP = 0.5
"""Seconds; torch's store asks for the name of each address that connects."""

# Of these the versions must be the same on every node: they decide what is computed, or speak to each other.
COMPUTING = ("torch", "numpy", "triton", "lightning", "pytorch-lightning", "pytorch-ignite")
COMPUTING_PREFIX = "nvidia-"


Prints = Mapping[str, Mapping[str, Any] | None]
"""What `fingerprint.take` said of each path."""


@dataclass(frozen=True)
class Fault:
    """Something wrong with a node, or between two; one that is not fatal is a warning."""

    message: str
    hint: str
    fatal: bool = True


@dataclass(frozen=True, kw_only=True)
class Words:
    """What to type against a fault, which depends on how the nodes are reached."""

    python: str
    interface: str
    share: str


def require(faults: Sequence[Fault]) -> list[Fault]:
    """The warnings. Raises EnvironmentUnfit that names every fatal fault, with the first one's remedy."""
    fatal = [fault for fault in faults if fault.fatal]
    if fatal:
        text = [fault.message for fault in fatal]
        message = text[0] if len(text) == 1 else "\n  ".join([f"the nodes have {len(text)} faults", *text])
        hints = dict.fromkeys(fault.hint for fault in fatal)
        raise EnvironmentUnfit(message, hint="; ".join(hints))
    return [fault for fault in faults if not fault.fatal]


def of_each(hosts: Sequence[str], seen: Sequence[Seen], words: Words) -> Iterator[Fault]:
    """What is wrong with a node by itself."""
    for host, one in zip(hosts, seen, strict=True):
        if _version(one["python"]) < OLDEST_PYTHON:
            yield Fault(f"{host}: its Python is {one['python']}, launcher needs 3.11", words.python)
        if "torch" not in one["packages"]:
            yield Fault(f"{host}: its Python has no torch", f"run ./install there, or {words.python}")
        if one["fault"]:
            yield Fault(f"{host}: no address for the rendezvous: {one['fault']}", words.interface)
        for name, folder in one["folders"].items():
            if folder["fault"]:
                yield Fault(f"{host}:{name}: {folder['fault']}", f"--runs-dir DIR, or {words.share}")
            elif folder["free"] < FREE_WARNING:
                text = f"{host}:{name}: only {folder['free'] >> 20} MiB are free"
                yield Fault(text, "make room there", fatal=folder["free"] < FREE_LIMIT)


def of_all(hosts: Sequence[str], seen: Sequence[Seen]) -> Iterator[Fault]:
    """What is wrong between the nodes."""
    yield from _as_envcheck_judges(hosts, seen)
    first = seen[0]
    for host, one in list(zip(hosts, seen, strict=True))[1:]:
        if _version(one["python"]) != _version(first["python"]) or one["machine"] != first["machine"]:
            here, there = (f"Python {each['python']} ({each['machine']})" for each in (one, first))
            yield Fault(f"{host} has {here}, {hosts[0]} has {there}", "install the same environment on every node")
        yield from _drift(host, one["packages"], hosts[0], first["packages"])
        yield from _contents(host, one["prints"], hosts[0], first["prints"])
    for name, found in first["prints"].items():
        if found is None:
            yield Fault(f"{hosts[0]}:{name} is not there", "mount or copy it on every node")


def of_network(hosts: Sequence[str], seen: Sequence[Seen], words: Words) -> Iterator[Fault]:
    """Who cannot reach whom."""
    by_port = {(one["address"], one["port"]): host for host, one in zip(hosts, seen, strict=True)}
    for host, one in zip(hosts, seen, strict=True):
        for address, port, why in one.get("unreached", []):
            text = f"{host} cannot reach {by_port[address, port]} at {address} port {port}: {why}"
            large = why == FULL_PACKETS
            remedy = "set one MTU on the whole way" if large else "open all ports between the nodes"
            yield Fault(text, f"{remedy}, or {words.interface}")
        look_up = one.get("look_up", 0.0)
        if look_up is None or look_up > SLOW_LOOK_UP:
            text = f"{host}: the name server takes its time for the head's address; every connection of the store waits"
            yield Fault(text, "name the nodes in /etc/hosts, or mend the name server", fatal=False)


def of_shared_folder(hosts: Sequence[str], seen: Sequence[Seen], nonce: str, words: Words) -> Iterator[Fault]:
    """Whether every node sees the files that were written on this machine."""
    for host, one in zip(hosts, seen, strict=True):
        for name, text in one["nonces"].items():
            if text != nonce:
                folder = name.rpartition("/")[0]
                yield Fault(f"{host} does not share {folder} with this machine", words.share)


def least(seen: Sequence[Seen]) -> Machine:
    """What every node can be counted on to have."""
    capable = all(float(gpu) >= 8.0 for one in seen for gpu in one["gpus"])
    gpus = min(len(one["gpus"]) for one in seen)
    return Machine(cores=min(one["cores"] for one in seen), gpus=gpus, bf16=capable and gpus > 0)


def _as_envcheck_judges(hosts: Sequence[str], seen: Sequence[Seen]) -> Iterator[Fault]:
    pairs = zip(hosts, seen, strict=True)
    nodes = tuple(Node(host, clock=one["clock"], identity=Identity(one["identity"])) for host, one in pairs)
    facts = Facts("", "", ("cluster",), sections={"cluster": Cluster(nodes)})
    for result in judge(facts, checks.select(BETWEEN)):
        if result.status in (Status.FAIL, Status.WARN):
            yield Fault(result.saw, result.remedy, fatal=result.status is Status.FAIL)


def _drift(host: str, packages: dict[str, str], head: str, expected: dict[str, str]) -> Iterator[Fault]:
    """Packages of other versions: fatal where they take part in the computation."""
    others: list[str] = []
    for name in sorted(packages.keys() | expected.keys()):
        ours, theirs = packages.get(name, "none"), expected.get(name, "none")
        if ours == theirs:
            continue
        if name in COMPUTING or name.startswith(COMPUTING_PREFIX):
            yield Fault(f"{host} has {name} {ours}, {head} has {theirs}", "install the same lock on every node")
        else:
            others.append(f"{name} {ours} ({head}: {theirs})")
    if others:
        named = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        yield Fault(f"{host} differs in packages: {named}", "install the same lock on every node", fatal=False)


def _contents(host: str, prints: Prints, head: str, expected: Prints) -> Iterator[Fault]:
    """Code or data that is not what the head has."""
    for name, found in prints.items():
        if found == expected[name] or expected[name] is None:
            continue
        has = "is not there" if found is None else f"is not what {head} has ({_counts(found, expected[name])})"
        yield Fault(f"{host}:{name} {has}", "copy it to every node, or share it")


def _counts(found: Mapping[str, Any], expected: Mapping[str, Any] | None) -> str:
    there = expected["files"] if expected else 0
    return f"{found['files']} files, not {there}" if found["files"] != there else f"{there} files, other contents"


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
