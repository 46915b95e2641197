"""The task's models: moved to the device, wrapped for several processes, and seen as one set of weights."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from launcher.errors import JobFailed
from launcher.worker import network, shards
from launcher.worker.agreement import of_all_ranks
from launcher.worker.context import Context


class Weights:
    """One model under the name "", or several by name, seen as one set of tensors."""

    sharded = False
    """Whether each rank holds only its part of them."""

    def __init__(self, by_name: Mapping[str, nn.Module]) -> None:
        self.by_name = dict(by_name)

    def weights(self) -> dict[str, Tensor]:
        """The live tensors of every `state_dict`; with several models each key begins with the model's name."""
        weights = {
            f"{name}.{key}" if name else key: value
            for name, module in self.by_name.items()
            for key, value in module.state_dict().items()
        }
        for key, value in weights.items():
            if not isinstance(value, Tensor):
                raise JobFailed(
                    f"the model's state_dict holds a {type(value).__name__} at {key}; a checkpoint holds tensors only",
                    hint="register it as a buffer, or make it a constructor's argument",
                )
        return weights

    def all_finite(self) -> bool:
        """Whether every parameter is a number (waits for the device)."""
        live = [each.detach() for module in self.by_name.values() for each in module.parameters() if each.numel()]
        held = [shards.own(each) for each in live]
        largest = [torch.linalg.vector_norm(each, ord=torch.inf).float() for each in held if each.numel()]
        finite = not largest or bool(torch.isfinite(torch.stack(largest)).all())
        return all(of_all_ranks(finite)) if self.sharded else finite


class Models(Weights):
    """A model, or several by name, and what is trained in their place: `DistributedDataParallel` of each, or shards."""

    def __init__(self, given: nn.Module | Mapping[str, nn.Module], context: Context) -> None:
        self.single = isinstance(given, nn.Module)
        super().__init__({"": given} if isinstance(given, nn.Module) else given)
        self.sharded = context.plan.sharded
        self.sharding: Any = importlib.import_module("launcher.worker.sharding") if self.sharded else None
        self._replaced: dict[int, nn.Parameter] = {}
        self.wrapped = {name: self._tuned(module, context) for name, module in self.by_name.items()}
        several = context.world_size > 1
        self.buffers = [buffer for module in self.by_name.values() for buffer in module.buffers()] if several else []
        self.to_train: Any = self.wrapped[""] if self.single else self.wrapped
        self.to_validate: Any = self.by_name[""] if self.single else self.by_name

    def followed_by(self, optimizer: Optimizer) -> Optimizer:
        """The optimizer, of the parameters as they are held here."""
        if self.sharded:
            self.sharding.follow(optimizer, self._replaced)
        return optimizer

    def _tuned(self, module: nn.Module, context: Context) -> nn.Module:
        plan, trained = context.plan, any(each.requires_grad for each in module.parameters())
        network.arrange(module, plan)
        if self.sharded and trained:
            network.compile(network.layers(module) or [module], plan)
            self._replaced |= self.sharding.shard(module, context)
            return module
        network.compile([module], plan)
        module.to(context.device)
        return distributed(module, context) if context.world_size > 1 else module

    @contextlib.contextmanager
    def evaluating(self, *, alike: bool = True) -> Iterator[None]:
        """Evaluation mode; afterwards every submodule is in the mode it was in (a frozen one may not be training).

        `alike`: all ranks call the models equally often.
        """
        modes = [(each, each.training) for module in self.by_name.values() for each in module.modules()]
        for module in self.by_name.values():
            module.eval()
        try:
            with nullcontext() if alike or not self.sharded else self.sharding.whole(self.by_name.values()):
                yield
        finally:
            for each, training in modes:
                each.training = training

    @contextlib.contextmanager
    def without_sync(self) -> Iterator[None]:
        """Backward passes add up here; the ranks' gradients are not summed."""
        with contextlib.ExitStack() as stack:
            for module in self.wrapped.values():
                if isinstance(module, DistributedDataParallel):
                    stack.enter_context(module.no_sync())
                elif self.sharded:
                    stack.enter_context(self.sharding.without_sync(module))
            yield

    def share_buffers(self) -> None:
        """Give every rank the buffers of rank 0, so that all go on from what a checkpoint would hold."""
        share(self.buffers)


def distributed(module: nn.Module, context: Context) -> nn.Module:
    """`DistributedDataParallel` of a module already on its device; the module itself where nothing is trained.

    It never touches the buffers: whoever trains shares them once a step (`share_buffers`).
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return module
    devices = [context.device.index] if context.device.type == "cuda" else None
    options = context.plan.spec.parallel
    wrapped = _FixedBuckets(
        module,
        device_ids=devices,
        gradient_as_bucket_view=options.bucket_view,
        static_graph=options.static_graph,
        bucket_cap_mb=options.bucket_mb,
    )
    wrapped.broadcast_buffers = False  # `share_buffers` does it once a step: a second forward pass must not change them
    wrapped.reducer._push_all_rebuilt_params()
    wrapped.reducer._rebuild_buckets()
    return wrapped


class _FixedBuckets(DistributedDataParallel):
    """Gradients keep their place in the buckets from the first step on.

    DDP arranges its buckets anew after the first step of a process. From three ranks on the order in which a sum is
    made follows from the gradient's place, so a resumed run would differ from one that was never stopped. So the new
    arrangement is made before the first step, and in the order in which gradients come: from the last layer to the
    first. (`find_unused_parameters=True` would keep the first arrangement, at 1 ms a step of a small model.)
    """

    def _build_params_for_reducer(self) -> tuple[list[nn.Parameter], list[bool]]:
        parameters, sparse = super()._build_params_for_reducer()  # type: ignore[no-untyped-call]
        return parameters[::-1], sparse[::-1]


def share(tensors: Iterable[Tensor]) -> None:
    """Give every rank the tensors of rank 0, in one message for all of one type."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_type.values():
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in alike])
        dist.broadcast(flat, src=0)
        with torch.no_grad():
            for tensor, part in zip(alike, torch.split(flat, [tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))
