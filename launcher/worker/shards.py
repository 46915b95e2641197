"""Tensors of which each rank may hold its part only (DTensor), handled alike with those that are whole everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from launcher.worker import memory


def is_shard(tensor: Tensor) -> bool:
    """Without an import of DTensor, which takes long and which few trainings need."""
    return hasattr(tensor, "placements")


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor, on every rank; for all ranks at once where it is shared out."""
    return tensor.full_tensor() if is_shard(tensor) else tensor  # type: ignore[attr-defined]


def own(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return tensor.to_local() if is_shard(tensor) else tensor  # type: ignore[attr-defined]


def as_parameter(value: Tensor, parameter: Tensor) -> Tensor:
    """A state of a parameter, shared out and laid out as the parameter is."""
    if is_shard(parameter):
        return value if is_shard(value) else _part(value, parameter)
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def copy_in(live: Tensor, stored: Tensor) -> None:
    """Put a whole tensor into a live one, of which this rank may hold a part only."""
    if is_shard(live):
        own(live).copy_(own(_part(stored, live)))
    else:
        memory.copy(live, stored)


def _part(whole: Tensor, like: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)  # noqa: S101  (for mypy)
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
