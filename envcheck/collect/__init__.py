"""Collection: every collector of the wanted tiers at once, each bounded by its own deadline."""

from __future__ import annotations

import importlib
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from envcheck.facts import Facts
from envcheck.machine import Absent, Machine

if TYPE_CHECKING:
    from collections.abc import Iterable


class Source(NamedTuple):
    """Where a section comes from: `collect(machine)` of a module, and the seconds it may take."""

    module: str
    seconds: float
    tier: str = "static"
    after: str = ""
    """A section that is collected before: what computes on the GPUs would be seen there as somebody who uses them."""


SOURCES = {
    "host": Source("envcheck.collect.host", 2),
    "python": Source("envcheck.collect.python", 2),
    "environment": Source("envcheck.collect.environment", 2),
    "driver": Source("envcheck.collect.driver", 3),
    "gpus": Source("envcheck.collect.gpus", 32),
    "pci": Source("envcheck.collect.pci", 3),
    "kernel_log": Source("envcheck.collect.kernel_log", 5),
    "engine": Source("envcheck.collect.engine", 3),
    "packages": Source("envcheck.collect.packages", 10),
    "libraries": Source("envcheck.collect.libraries", 5),
    "job": Source("envcheck.collect.job", 3),
    "limits": Source("envcheck.collect.limits", 2),
    "cgroup": Source("envcheck.collect.cgroup", 2),
    "process": Source("envcheck.collect.process", 2),
    "storage": Source("envcheck.collect.storage", 9),
    "network": Source("envcheck.collect.network", 2),
    "names": Source("envcheck.collect.names", 4),
    "rendezvous": Source("envcheck.collect.rendezvous", 4),
    "torch": Source("envcheck.collect.torch", 180, tier="torch", after="gpus"),
    "collective": Source("envcheck.collect.collective", 180, tier="collective", after="torch"),
}


def collect(machine: Machine, tiers: Iterable[str] = ("static",), only: Iterable[str] | None = None) -> Facts:
    """Look at the machine. A collector that fails or hangs leaves its section absent, with the reason."""
    tiers = tuple(tiers)
    wanted = [name for name, source in SOURCES.items() if source.tier in tiers and (only is None or name in only)]
    facts = Facts(
        host=machine.read_or_none("/proc/sys/kernel/hostname") or "unknown",
        collected_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        tiers=tiers,
        sections={"need": machine.need},
    )
    probes: dict[str, _Probe] = {}
    for name in wanted:
        probes[name] = _Probe(name, SOURCES[name], machine, probes.get(SOURCES[name].after))
        probes[name].begin()
    for probe in probes.values():
        facts = probe.added_to(facts)
    return facts


class _Probe(threading.Thread):
    """One collector in a daemon thread: a hanging file system can be left behind, not interrupted."""

    def __init__(self, name: str, source: Source, machine: Machine, before: _Probe | None) -> None:
        super().__init__(daemon=True)
        self.section, self.source, self.machine, self.before = name, source, machine, before
        self.found: Any = None
        self.why: str | None = None
        self.deadline: float = (before.deadline if before else time.monotonic()) + source.seconds

    def begin(self) -> None:
        try:
            self.start()
        except RuntimeError as error:  # no more threads may be started here: the other sections may still be had
            self.why = str(error)

    def wait(self) -> None:
        if self.ident is not None:
            self.join(max(0.0, self.deadline - time.monotonic()))

    def run(self) -> None:
        if self.before:
            self.before.wait()
        try:
            self.found = importlib.import_module(self.source.module).collect(self.machine)
        except Absent as absent:
            self.why = str(absent)
        except Exception as error:
            self.why = f"its collector failed: {type(error).__name__}: {error}"

    def added_to(self, facts: Facts) -> Facts:
        self.wait()
        if self.is_alive():
            return facts.without(self.section, f"no answer within {self.source.seconds:g} s")
        if self.why is not None:
            return facts.without(self.section, self.why)
        return facts.with_section(self.section, self.found)
