"""What the job's `model` section does to a network: its layout, what of it is computed twice, its compilation.

All of it in place: names, types and hooks stay as they are, and with them checkpoints.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from launcher.errors import EnvironmentUnfit, RequestError
from launcher.plan import Plan

MODES: dict[str | bool, str] = {True: "default", "default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Of torch.compile. Losses are kept for later, and CUDA graphs would write over them in the next step."""
_COMPILERS = {"cpu": ("c++", "g++", "clang++"), "cuda": ("cc", "gcc", "clang")}


def arrange(network: nn.Module, plan: Plan) -> None:
    """Lay it out and mark what is computed twice. Raises RequestError where it has no layers to mark."""
    if plan.levers.channels_last and any(
        isinstance(each, nn.Conv2d | nn.ConvTranspose2d) for each in network.modules()
    ):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if plan.spec.model.activation_checkpoint == "full":
        _recompute(network, compiled=bool(plan.spec.model.compile))


def compile(networks: Sequence[nn.Module], plan: Plan) -> None:
    """Let calls of these be compiled, at their first. Raises EnvironmentUnfit where nothing can compile them."""
    asked = plan.spec.model.compile
    if not asked:
        return
    if not networks:
        raise RequestError(
            f"model.compile is {str(asked).lower()}, and the module holds no network that its steps could call",
            hint="make its layers a module of their own, self.network = …, or set model.compile=false",
        )
    _check_compiler(plan.device, str(asked).lower())
    exact = plan.spec.training.numerics == "exact"
    if exact:
        _compile_alike()
    for network in networks:
        # In exact, each shape is compiled for itself: with kernels for any shape it would matter which came first.
        _compile(network, mode=MODES[asked], dynamic=False if exact else None)


def layers(network: nn.Module) -> list[nn.Module]:
    """The repeated ones: what stands in the outermost ModuleLists and Sequentials, and has parameters."""
    found: list[nn.Module] = []
    for child in network.children():
        if isinstance(network, nn.ModuleList | nn.Sequential) and not isinstance(child, nn.ModuleList | nn.Sequential):
            found += [child] if next(child.parameters(), None) is not None else []
        else:
            found += layers(child)
    return list(dict.fromkeys(found))


def _compile(network: nn.Module, *, mode: str, dynamic: bool | None) -> None:
    """Its `forward` alone: hooks are called around it as ever.

    From a function that is not torch's own: `nn.Module.compile` compiles nothing of a bare nn.Sequential, silently.
    """
    forward = network.forward

    def called(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    network.forward = torch.compile(called, mode=mode, dynamic=dynamic)


def _recompute(network: nn.Module, *, compiled: bool) -> None:
    found = layers(network)
    if not found:
        raise RequestError(
            "model.activation_checkpoint is full, and the model has no repeated layers",
            hint="put its layers into an nn.ModuleList or nn.Sequential, or set model.activation_checkpoint=none",
        )
    for layer in found:
        averages = any(isinstance(each, _NormBase) for each in layer.modules())
        twice = partial(checkpoint, layer.forward, use_reentrant=False)
        layer.forward = partial(twice, context_fn=partial(_contexts, layer)) if averages and not compiled else twice


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _averages_kept(layer)


@contextlib.contextmanager
def _averages_kept(layer: nn.Module) -> Iterator[None]:
    """Running means take in each batch once, though it is computed twice."""
    norms = [each for each in layer.modules() if isinstance(each, _NormBase)]
    buffers = [dict(each._buffers) for each in norms]
    for norm in norms:
        norm._buffers.update({name: value if value is None else value.clone() for name, value in norm._buffers.items()})
    try:
        yield
    finally:
        for norm, kept in zip(norms, buffers, strict=True):
            norm._buffers.update(kept)


def _check_compiler(device: str, asked: str) -> None:
    missing = None
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        missing = "no triton, which makes kernels for GPUs"
    elif not any(
        shutil.which(name) for name in (os.environ.get("CXX" if device == "cpu" else "CC"), *_COMPILERS[device]) if name
    ):
        missing = f"no compiler ({', '.join(_COMPILERS[device])})"
    if missing:
        raise EnvironmentUnfit(
            f"model.compile is {asked}, and this node has {missing}",
            hint="install it (apt install g++, pip install triton), or --set model.compile=false",
        )


def _compile_alike() -> None:
    """The same kernels in every process; and an error, not another way of computing, after too many shapes."""
    import torch._dynamo.config as tracing
    import torch._inductor.config as generating

    generating.deterministic = True  # nothing is chosen by the clock; versions that lack it take it for their own
    tracing.fail_on_recompile_limit_hit = True
