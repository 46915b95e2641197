"""What came of a real all-reduce between processes of this machine, or of all nodes that were started together."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Collective:
    """`failure` tells why no result came; everything else is then empty."""

    failure: Optional[str] = None
    backend: str = ""
    """`nccl` or `gloo`."""
    processes: int = 0
    wrong: tuple[str, ...] = ()
    """Ranks whose sums were not the ones that arithmetic gives."""
    bytes: int = 0
    """Size of the tensor that was timed."""
    seconds: Optional[float] = None
    """Median time of one all-reduce; None for a single process."""
    bandwidth: Optional[float] = None
    """GB/s that each process sent and received ("bus bandwidth"): 2 (n - 1) / n x bytes / seconds."""
    work_seconds: tuple[float, ...] = ()
    """By rank: the shortest time for the same piece of work, without any communication."""
    hosts: tuple[str, ...] = ()
    """By rank: where it ran."""
