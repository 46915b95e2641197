"""`parallel.strategy: fsdp2`: each rank holds its part of every parameter, and what belongs to it.

Imported only by a training that is shared out so: what it imports takes as long as an optimizer's first step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.optim import Optimizer

from launcher.errors import JobFailed
from launcher.worker import network, numerics
from launcher.worker.context import Context


def shard(module: nn.Module, context: Context) -> dict[int, nn.Parameter]:
    """Share the module out among all ranks, its repeated layers each for itself, so that only one is whole at a time.

    Moves it to the device. Returns the parameters that now stand in the place of others, by those others' `id`.
    """
    mesh = init_device_mesh(context.device.type, (context.world_size,))
    before = dict(module.named_parameters())
    low = numerics.AUTOCAST_TYPES.get(context.plan.precision)
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32 if low else None)
    for each in [*network.layers(module), module]:
        fully_shard(each, mesh=mesh, mp_policy=policy)
    module.to(context.device)
    after = dict(module.named_parameters())
    return {id(parameter): after[name] for name, parameter in before.items()}


def follow(optimizer: Optimizer, replaced: dict[int, nn.Parameter]) -> None:
    """Let an optimizer that was built before the sharding step the shards. Raises JobFailed where it has a state."""
    for group in optimizer.param_groups:
        if any(each in optimizer.state for each in group["params"] if id(each) in replaced):
            raise JobFailed(
                f"parallel.strategy is fsdp2, and {type(optimizer).__name__} has a state before its first step,"
                " of whole parameters",
                hint="use another optimizer (AdamW, SGD), or parallel.strategy=ddp",
            )
        group["params"][:] = [replaced.get(id(each), each) for each in group["params"]]


@contextlib.contextmanager
def without_sync(module: nn.Module) -> Iterator[None]:
    """Backward passes add up here, as DDP's `no_sync` does it."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


@contextlib.contextmanager
def whole(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Every rank holds all of the parameters, so that ranks may call the model one more time than others."""
    parts = [part for module in modules for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()
