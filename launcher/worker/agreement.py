"""What ranks tell each other in Python values: each to all, or rank 0 to the others. For all ranks at once."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed as dist

Said = TypeVar("Said")


def of_all_ranks(mine: Said) -> list[Said]:
    """What each rank has, in the order of the ranks."""
    if not several():
        return [mine]
    reports: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(reports, mine)
    return reports


def of_rank_0(mine: Said) -> Said:
    """Rank 0's, everywhere: what follows from it must be one decision."""
    if not several():
        return mine
    shared = [mine]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def several() -> bool:
    """Whether there are others, and a process group to talk to them."""
    return dist.is_initialized() and dist.get_world_size() > 1
