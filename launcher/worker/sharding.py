"""`parallel.strategy: fsdp2`: each rank holds its part of every parameter, and what belongs to it.

Imported only by a training that is shared out so: what it imports takes as long as an optimizer's first step.
"""

from __future__ import annotations

import contextlib
from collections import Counter
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

    A layer whose weights are tied to others' stays with the rest of the module, which keeps them one, and is whole from
    its forward to its backward pass. Moves the module to the device. Returns the parameters that now stand in the place
    of others, by those others' `id`.
    """
    mesh = init_device_mesh(context.device.type, (context.world_size,))
    before = dict(module.named_parameters())
    low = numerics.AUTOCAST_TYPES.get(context.plan.precision)
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32 if low else None)
    for each in _untied(network.layers(module), module):
        fully_shard(each, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
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
    roots = list(modules)
    parts = [part for root in roots for part in root.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            # A root is whole from its forward to its backward pass, which begins with it.
            part.set_reshard_after_forward(all(part is not root for root in roots), recurse=False)
            part.reshard()


def _untied(layers: Iterable[nn.Module], module: nn.Module) -> list[nn.Module]:
    """The layers that share no parameter with another part of the module: two groups would make two of it."""
    everywhere = _holders(module)
    return [each for each in layers if all(everywhere[held] == count for held, count in _holders(each).items())]


def _holders(module: nn.Module) -> Counter[nn.Parameter]:
    """How many modules hold each parameter itself."""
    return Counter(held for part in module.modules() for held in part.parameters(recurse=False))
