"""A program for torchrun: an all-reduce whose sums are known beforehand, then timed, and a piece of work for each rank.

Rank 0 prints the `collective` section as one line of JSON.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import socket
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from envcheck.sections.collective import Collective

if TYPE_CHECKING:
    import torch

SECONDS = 60
ELEMENTS = (1, 1000, 1 << 18)
TIMED_BYTES = {"nccl": 256 << 20, "gloo": 8 << 20}
REPEATS = 5
ROUNDS, PRODUCTS = 2, 30


def main() -> int:
    import torch
    import torch.distributed as distributed

    here = int(os.environ["LOCAL_RANK"])
    cuda = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    cuda = cuda and os.environ.get("ENVCHECK_DEVICE") != "cpu"
    device, backend = (torch.device("cuda", here), "nccl") if cuda else (torch.device("cpu"), "gloo")
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, timeout=datetime.timedelta(seconds=SECONDS))
    try:
        found = _measure(device, backend)
    finally:
        distributed.destroy_process_group()
    if found is not None:
        print(json.dumps(dataclasses.asdict(found)), flush=True)
    return 0


def _measure(device: torch.device, backend: str) -> Collective | None:
    """Run every part on all ranks; the section on rank 0, None elsewhere."""
    import torch.distributed as distributed

    rank, world = distributed.get_rank(), distributed.get_world_size()
    mine = {"wrong": _wrong(device, rank, world), "work": _work(device), "host": socket.gethostname()}
    size = TIMED_BYTES[backend]
    seconds = _timed(device, size) if world > 1 else None
    everyone: list[Any] = [None] * world
    distributed.all_gather_object(everyone, mine)
    if rank != 0:
        return None
    return Collective(
        backend=backend,
        processes=world,
        wrong=tuple(f"rank {index}: {one['wrong']}" for index, one in enumerate(everyone) if one["wrong"]),
        bytes=size,
        seconds=seconds,
        bandwidth=None if seconds is None else round(2 * (world - 1) / world * size / seconds / 1e9, 3),
        work_seconds=tuple(one["work"] for one in everyone),
        hosts=tuple(one["host"] for one in everyone),
    )


def _wrong(device: torch.device, rank: int, world: int) -> str:
    """Sums of whole numbers that float32 holds exactly: element i of rank r is (i mod 251) + r."""
    import torch
    import torch.distributed as distributed

    for elements in ELEMENTS:
        index = torch.arange(elements, device=device, dtype=torch.float32).remainder(251)
        values = index + rank
        distributed.all_reduce(values)
        expected = index * world + world * (world - 1) // 2
        differ = int((values != expected).sum())
        if differ:
            return f"{differ} of {elements} sums are wrong"
    return ""


def _work(device: torch.device) -> float:
    """Seconds for a number of matrix products: long enough to meet a processor quota, the best of a few rounds so that
    a neighbour's short load does not count."""
    import torch

    size = 4096 if device.type == "cuda" else 384
    left = torch.ones(size, size, device=device)
    times = []
    float((left @ left)[0, 0])  # waits for the device
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(PRODUCTS):
            float((left @ left)[0, 0])
        times.append(time.perf_counter() - began)
    return min(times)


def _timed(device: torch.device, size: int) -> float:
    import torch
    import torch.distributed as distributed

    values = torch.zeros(size // 4, device=device)
    times = []
    for _ in range(REPEATS + 1):
        distributed.barrier()
        began = time.perf_counter()
        distributed.all_reduce(values)
        float(values[0])
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


if __name__ == "__main__":
    sys.exit(main())
