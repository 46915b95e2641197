"""Whether nodes fit together for a run, by what was seen on each: envcheck judges, and here are launcher's own needs
and words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from envcheck import checks
from envcheck.check import Result, Status, judge
from envcheck.facts import Facts
from envcheck.sections.cluster import Cluster, Identity, Node
from launcher.cluster.probe import FULL_PACKETS
from launcher.cluster.survey import Seen
from launcher.errors import EnvironmentUnfit, counted
from launcher.plan import Machine

OLDEST_PYTHON = (3, 11)
BETWEEN = ("CLU006", "CLU008", "CLU011", "CLU012", "CLU014", "CLU017")
"""envcheck's checks of what lies between the nodes: Python, clocks, files, ports, names and packages."""
FREE_WARNING = 1 << 30
FREE_LIMIT = 64 << 20
"""Bytes that must be free for logs and checkpoints."""
NARROW = "set one MTU on the whole way"
SLOW_LOOK_UP = 0.5
"""Seconds; torch's store asks for the name of each address that connects."""


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


def of_all(hosts: Sequence[str], seen: Sequence[Seen], words: Words) -> Iterator[Fault]:
    """What is wrong between the nodes, as envcheck judges it."""
    facts = Facts("", "", ("cluster",), sections={"cluster": _cluster(hosts, seen)})
    for result in judge(facts, checks.select(BETWEEN)):
        if result.status in (Status.FAIL, Status.WARN):
            yield Fault(result.saw, _remedy(result, words), fatal=result.status is Status.FAIL)
    for name in seen[0]["prints"]:
        if all(one["prints"][name] is None for one in seen):
            yield Fault(f"{name} is on none of the nodes", "mount or copy it on every node")
    for host, one in zip(hosts, seen, strict=True):
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


def _cluster(hosts: Sequence[str], seen: Sequence[Seen]) -> Cluster:
    """What was seen, as envcheck's own look at a cluster would put it."""
    by_port = {(one["address"], one["port"]): host for host, one in zip(hosts, seen, strict=True)}
    return Cluster(tuple(_node(host, one, by_port) for host, one in zip(hosts, seen, strict=True)))


def _node(host: str, one: Seen, by_port: Mapping[tuple[str, int], str]) -> Node:
    prints = {
        name: f"{counted(found['files'], 'file')}, {found['digest'][:8]}"
        for name, found in one["prints"].items()
        if found
    }
    shut = {by_port[address, port]: f"{why} ({address} port {port})" for address, port, why in one.get("unreached", [])}
    python = ".".join(map(str, _version(one["python"])))
    return Node(
        host,
        clock=one["clock"],
        seen={"python": f"{python} ({one['machine']})"},
        packages=one["packages"],
        identity=Identity(one["identity"], data=prints),
        ports=shut,
    )


def _remedy(result: Result, words: Words) -> str:
    if result.id != "CLU012":
        return result.remedy
    return f"{NARROW if FULL_PACKETS in result.saw else result.remedy}, or {words.interface}"


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
