"""Faults between nodes: two real ones behind real sshd's, in one run alike and in one spoilt in every way."""

from __future__ import annotations

import pytest

from envcheck.check import Status
from envcheck.facts import Facts
from envcheck.sections.cluster import Cluster, Node
from tests.envcheck import lab
from tests.envcheck.bench import Bench
from tests.envcheck.proof import Proof, fake

FAIL, WARN = Status.FAIL, Status.WARN


def spoilt(bench: Bench) -> Facts:
    return lab.faulty()


def spoilt_clock(bench: Bench) -> Facts:
    if lab.clock_shim() is None:
        pytest.skip("libfaketime is not installed (tests/system-packages.txt)")
    return lab.faulty()


def in_lab(check: str, mode: str, how: str, saw: str, status: Status = FAIL) -> Proof:
    fault = spoilt_clock if check == "CLU008" else spoilt
    return Proof(check, mode, "N", how, saw, fault, lambda bench: lab.healthy(), status)


def three(**odd: str) -> Cluster:
    """Three nodes on paper, of which the third is `odd`."""
    usual = {"torch": "2.13.0", "driver": "580.95.05", "kernel": "6.8.0-31-generic", "gpus": "8 x NVIDIA H100"}
    told = [{**usual}, {**usual}, {**usual, **odd}]
    return Cluster(tuple(Node(f"node-{number}", seen=seen) for number, seen in enumerate(told)))


def differing(check: str, mode: str, how: str, saw: str, **odd: str) -> Proof:
    return fake(check, mode, how, saw, base=lambda bench: bench.given.update(cluster=three()),
                plant=lambda bench: bench.given.update(cluster=three(**odd)))  # fmt: skip


PROOFS = [
    in_lab("CLU001", "F68", "a user the sshd does not let in", "nobody@mn1: nobody@mn1: Permission denied"),
    in_lab("CLU002", "F65", "another torch in the site-packages of one node", "mn2 has torch 2.12.1"),
    in_lab("CLU003", "F65", "another NCCL in the site-packages of one node", "mn2 has nccl nvidia-nccl-cu13 2.28.9"),
    differing("CLU004", "F65", "another driver on one of three", "node-2 has driver 570.86.15", driver="570.86.15"),
    differing("CLU005", "F65", "another kernel on one of three", "node-2 has kernel 5.4.0", kernel="5.4.0"),
    differing("CLU006", "F65", "a GPU fewer on one of three", "node-2 has gpus 7 x", gpus="7 x NVIDIA H100"),
    in_lab("CLU007", "F61", "an MTU of 1400 on one node", "mn2 has an MTU of 1400; the others have 1500", WARN),
    in_lab("CLU008", "F64", "libfaketime 22 s ahead on one node", "of the clocks, mn2 is 2"),
    in_lab("CLU009", "F67", "one changed line on one node", "mn2 has changes since the commit:"),
    in_lab("CLU010", "F65", "another pin in the lock of one node", "mn2 has uv.lock:"),
    in_lab("CLU011", "F77", "one byte of the data changed on one node", "mn2 has data: 1 files, 10000 bytes"),
    in_lab("CLU012", "F55", "a blackhole route on one node", "mn1 -> mn2: no answer; mn2 -> mn1:"),
    in_lab("CLU013", "F53", "a hosts file without the other node", "on mn2: mn1: Name or service not known"),
    in_lab("CLU014", "F17", "one machine under two names", "mn1 and mn1b are one machine"),
    in_lab("CLU015", "F66", "NCCL_ALGO on one node", "mn2 has NCCL_ALGO: Tree", WARN),
    in_lab("CLU016", "F73", "a tmpfs over the run folder of one node", "mn1 does not see what mn2 wrote"),
    in_lab("CLU017", "F65", "another package on one node", "mn2 has nvidia-nccl-cu13==2.28.9"),
]
