"""Faults of the job's own files and numbers."""

from __future__ import annotations

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.paper import H100, cuda_torch, gpus
from tests.envcheck.proof import fake

BEFORE = {"torch": "2.13.0", "gpu": H100, "world_size": "8"}


def data_set(bench: Bench) -> None:
    bench.wants(workdir=str(bench.root / "job"), paths=("data.bin",))


def resumed(bench: Bench, **needs: object) -> None:
    cuda_torch(bench)
    gpus(bench, *[H100] * 8)
    bench.wants(previous=BEFORE, procs_per_node=8, numerics="exact")
    bench.wants(**needs)


PROOFS = [
    fake(
        "JOB001",
        "F100",
        "a data set that is not there",
        "not on this node: data.bin",
        base=data_set,
        plant=lambda bench: None,
        cure=lambda bench: bench.file("/job/data.bin", "x"),
        kind="N",
    ),
    fake(
        "JOB002",
        "F101",
        "a batch of 100 over 8 processes",
        "does not divide by 8",
        base=lambda bench: bench.wants(procs_per_node=8),
        plant=lambda bench: bench.wants(batch_size=100),
        cure=lambda bench: bench.wants(batch_size=96),
        kind="N",
    ),
    fake(
        "JOB003",
        "F98",
        "a run of eight processes resumed with four",
        "world_size was 8, is 4",
        plant=lambda bench: resumed(bench, procs_per_node=4),
        cure=resumed,
        kind="N",
    ),
    fake(
        "JOB003",
        "F98",
        "the same without the claim of exactness",
        "torch was 2.12.1, is 2.13.0",
        plant=lambda bench: resumed(bench, numerics="fast", previous={"torch": "2.12.1"}),
        cure=resumed,
        status=Status.WARN,
        kind="N",
    ),
]
