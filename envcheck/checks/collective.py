"""A real all-reduce: whether it comes to an end, gives the right sums, and is as fast as the link between the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fine, warn

if TYPE_CHECKING:
    from envcheck.sections.collective import Collective
    from envcheck.sections.gpus import Driver, Gpus, Pci

NVLINK_GB, NVLINK_SHARE = 25.0, 0.5
"""GB/s of one link in one direction (generations 2 to 4), and the part of all of them that an all-reduce reaches."""
PCIE_SHARE = 0.25
"""Of a slot's GB/s in one direction: between sockets, through host memory, little more can be had."""
LOOPBACK_GB = 0.05
SLOW = 2.5
"""Times the median of all ranks."""


@check(
    "COL001",
    remedy="read the first failure above; then one layer deeper: NCCL_DEBUG=INFO TORCH_DISTRIBUTED_DEBUG=INFO "
    "envcheck --collective",
    modes=("F56",),
)
def all_reduce_comes_to_an_end(collective: Collective) -> Outcome:
    """Processes started by torchrun meet and add up a tensor.

    It is the first thing that a training does: what blocks it here (an interface, a firewall, NCCL itself) blocks the
    job.
    """
    return collective.failure


@check(
    "COL002",
    remedy="take the node out of the queue and run `dcgmi diag -r 3`; where NCCL_P2P_DISABLE=1 helps: GPU013",
    modes=("F97",),
)
def sums_are_right(collective: Collective) -> Outcome:
    """Every rank has the sums that arithmetic gives.

    Broken peer-to-peer copies and defective memory change numbers without an error: a loss that does not fall.
    """
    if collective.failure:
        return fine("it did not come to an end: nothing to judge")
    return "; ".join(collective.wrong) or None


@check(
    "COL003",
    remedy="see what NCCL chose: NCCL_DEBUG=INFO envcheck --collective 2>&1 | grep via; then GPU011-GPU016",
    severity=Status.WARN,
    modes=("F90",),
)
def bandwidth_is_that_of_the_link(
    collective: Collective, gpus: Gpus | None = None, pci: Pci | None = None, driver: Driver | None = None
) -> Outcome:
    """The bandwidth is what the link between the ranks can give.

    A GPU that talks through the CPU, or a card at a quarter of its rate, shows nowhere else.
    """
    if collective.bandwidth is None or collective.seconds is None:
        return fine("one process alone: nothing to judge")
    link, expected = _expectation(collective, gpus, pci, driver)
    size = f"{collective.backend} over {link}: {collective.bandwidth:.2f} GB/s with {collective.bytes >> 20} MiB"
    saw = f"{size} between {collective.processes} processes"
    if expected is None:
        return fine(f"{saw}; nothing to compare it with is known")
    if collective.bandwidth < expected:
        return warn(f"{saw}, at least {expected:.3g} were expected")
    return fine(saw)


@check(
    "COL004",
    remedy="look at what else runs on {host} (top, nvidia-smi), its quota (CTR004) and its clocks (GPU004)",
    severity=Status.WARN,
    modes=("F90",),
)
def no_rank_is_slower_than_the_others(collective: Collective) -> Outcome:
    """No rank takes much longer than the others for the same piece of work.

    All wait for the slowest at every step: one of eight at half its speed halves them all.
    """
    times = collective.work_seconds
    if len(times) < 2:
        return fine("fewer than two processes: nothing to judge")
    slowest = max(range(len(times)), key=times.__getitem__)
    others = sorted(time for rank, time in enumerate(times) if rank != slowest)
    usual = others[len(others) // 2]
    if times[slowest] <= SLOW * usual:
        return None
    host, factor = collective.hosts[slowest], times[slowest] / usual
    return warn(f"rank {slowest} on {host} takes {factor:.1f} times as long as the others", host=host)


def _expectation(
    collective: Collective, gpus: Gpus | None, pci: Pci | None, driver: Driver | None
) -> tuple[str, float | None]:
    """What the ranks talk through, and the least GB/s it should give."""
    if len(set(collective.hosts)) > 1:
        return "the network", None
    if collective.backend == "gloo":
        return "loopback", LOOPBACK_GB
    links = [gpu.nvlinks_up for gpu in gpus.devices if gpu.nvlinks_up] if gpus else []
    reach_all = collective.processes == 2 or (driver is not None and driver.nvswitches > 0)  # not bridges of pairs
    if links and reach_all:
        return f"{min(links)} NVLinks", min(links) * NVLINK_GB * NVLINK_SHARE
    slots = [gpu.width * gpu.max_speed / 8 for gpu in pci.gpus if gpu.width and gpu.max_speed] if pci else []
    return "PCIe", min(slots) * PCIE_SHARE if slots else None
