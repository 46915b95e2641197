"""Faults of a real all-reduce; the runs that are healthy share one."""

from __future__ import annotations

import os
from functools import cache

from envcheck.check import Status
from envcheck.facts import Facts
from envcheck.sections.collective import Collective
from tests.envcheck.bench import REPOSITORY, Bench, real_facts
from tests.envcheck.namespaces import demand, hosts, network, why_no_namespaces
from tests.envcheck.paper import h100_node
from tests.envcheck.proof import Proof, fake
from tests.envcheck.proofs.container_resources import group

OPTIONS = ["--collective", "--device", "cpu", "--select", "collective"]
EIGHT = Collective(
    backend="nccl",
    processes=8,
    bytes=256 << 20,
    seconds=0.0015,
    bandwidth=310.0,
    work_seconds=(0.003,) * 8,
    hosts=("paper",) * 8,
)
ENTER = """import os, sys, threading, time
def has_met():
    distributed = sys.modules.get("torch.distributed")
    return hasattr(distributed, "is_initialized") and distributed.is_initialized()
def enter():
    while not has_met():
        time.sleep(0.01)
    with open({tasks!r}, "w") as tasks:
        tasks.write(str(os.getpid()))
if os.environ.get("RANK") == "1":
    threading.Thread(target=enter, daemon=True).start()
"""
"""A sitecustomize: torch is imported at full speed, the work is done with what the group grants."""


@cache
def healthy() -> Facts:
    """On a machine without any network, whose own name nobody knows, where such a one can be made."""
    alone = [] if why_no_namespaces() else network(hosts("127.0.0.1 localhost"), "hostname alone")
    return real_facts(options=OPTIONS, wrapper=alone)


def without_its_interface(bench: Bench) -> Facts:
    return real_facts(options=OPTIONS, environ={"GLOO_SOCKET_IFNAME": "nosuch0"})


def with_a_throttled_rank(bench: Bench) -> Facts:
    demand("namespaces")
    with group("cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "5000"}) as tasks:
        (bench.root / "sitecustomize.py").write_text(ENTER.format(tasks=str(tasks)))
        path = os.pathsep.join([str(bench.root), str(REPOSITORY)])
        return real_facts(options=OPTIONS, environ={"PYTHONPATH": path})


def eight(bench: Bench) -> None:
    h100_node(bench)
    for index in range(8):
        for name, text in {"link_width": "16", "link_speed": "32.0 GT/s PCIe"}.items():
            bench.file(f"/sys/bus/pci/devices/0000:{0x10 + index:02x}:00.0/current_{name}", text)
            bench.file(f"/sys/bus/pci/devices/0000:{0x10 + index:02x}:00.0/max_{name}", text)
    bench.given["collective"] = EIGHT


PROOFS = [
    Proof("COL001", "F56", "N", "GLOO_SOCKET_IFNAME of another machine", "Unable to find address for: nosuch0",
          without_its_interface, lambda bench: healthy(), Status.FAIL),
    fake("COL002", "F97", "three wrong sums of rank 5", "rank 5: 3 of 262144 sums are wrong", base=eight,
         plant=lambda bench: bench.change("collective", wrong=("rank 5: 3 of 262144 sums are wrong",))),
    fake("COL003", "F90", "eight H100 in PCIe slots at 3 GB/s", "nccl over PCIe: 3.00 GB/s with 256 MiB", base=eight,
         plant=lambda bench: bench.change("collective", bandwidth=3.0)),
    Proof("COL004", "F90", "N", "rank 1 of 2 with a twentieth of a processor", "rank 1 on",
          with_a_throttled_rank, lambda bench: healthy(), Status.WARN),
    fake("COL004", "F90", "one of eight at a third of its speed", "rank 6 on paper takes 3.0 times as long", base=eight,
         plant=lambda bench: bench.change("collective", work_seconds=(0.003,) * 6 + (0.009, 0.003))),
]  # fmt: skip
