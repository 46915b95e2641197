"""One optimizer's part of a step: backward, clipping, stepping."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from launcher.plan import Plan
from launcher.worker import fused, numerics, shards
from launcher.worker.unlabelled import Unlabelled


def learning_rates(optimizations: Mapping[str, Optimization]) -> dict[str, float]:
    """The rates by the names they are logged under: `lr`, or with several optimizers `lr.<name>`."""
    alone = len(optimizations) == 1
    return {"lr" if alone else f"lr.{name}": each.learning_rate() for name, each in optimizations.items()}


class Optimization:
    """An optimizer with its gradient scaler, if any, and its clipping."""

    def __init__(self, optimizer: Optimizer, plan: Plan) -> None:
        self.optimizer = optimizer
        self.unlabelled = Unlabelled(optimizer)
        self.scaler = numerics.scaler(plan)
        self.clip_norm = plan.spec.training.clip_norm
        self._plan = plan
        fused.apply(optimizer, plan)
        fused.keep(optimizer)
        self.parameters: list[Tensor] = [each for group in optimizer.param_groups for each in group["params"]]
        kinds = {(each.device, each.dtype) for each in self.parameters}
        self.sharded = any(shards.is_shard(each) for each in self.parameters)
        self.alike = len(kinds) == 1 and not self.sharded
        self.single_on_host = kinds == {(torch.device("cpu"), torch.float32)}

    def zero(self) -> None:
        self.unlabelled.zero()

    def backward(self, loss: Tensor) -> None:
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Clip and step. fp16: where a gradient overflowed, the scaler skips the step and lowers the scale."""
        if self.scaler is None:
            self._clip()
            self.unlabelled.step()
            return
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
        self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def clip_before_every_step(self) -> None:
        """For a loop that steps the optimizer itself: gradients are unscaled by then, where a scaler is used."""
        self.scaler = None
        if self.clip_norm is not None:
            self.optimizer.register_step_pre_hook(lambda *_: self._clip())

    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        scaler = self.scaler.state_dict() if self.scaler else None
        return {"optimizer": self.optimizer.state_dict(), "scaler": scaler}

    def load(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        settle(self.optimizer, self._plan)
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _clip(self) -> None:
        """The bits of `torch.nn.utils.clip_grad_norm_`, without its sorting of gradients by device and type."""
        if self.clip_norm is None:
            return
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        if self.sharded:
            _clip_shards(self.parameters, gradients, self.clip_norm)
        elif not self.alike or any([each.is_sparse for each in gradients]):  # noqa: C419 (twice as quick as a generator)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        elif gradients:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            if not self.single_on_host:
                torch._foreach_mul_(gradients, torch.clamp(self.clip_norm / (norm + 1e-6), max=1.0))
            elif (coefficient := _coefficient(float(norm), self.clip_norm)) != 1.0:  # times one changes no bit
                torch._foreach_mul_(gradients, coefficient)


def settle(optimizer: Optimizer, plan: Plan) -> None:
    """After a state was loaded: as it would be, had the optimizer made it itself, to the way it lies in memory."""
    fused.apply(optimizer, plan)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = shards.as_parameter(value, parameter)


def _clip_shards(parameters: list[Tensor], gradients: list[Tensor], longest: float) -> None:
    """For all ranks at once: the norm is that of the whole gradient."""
    norm = shards.gathered(torch.nn.utils.get_total_norm(gradients))
    torch.nn.utils.clip_grads_with_norm_(parameters, longest, norm)


def _coefficient(norm: float, longest: float) -> float:
    """`clamp(longest / (norm + 1e-6), max=1)` to the last bit of torch's 32, without a kernel for each operation."""
    if norm < 0.99 * longest:
        return 1.0
    # Each result in 64 bits, rounded at once, is the one in 32: they are more than twice as many.
    inverse = _single(1.0 / _single(norm + _single(1e-6)))
    coefficient = _single(inverse * _single(longest))
    return 1.0 if coefficient > 1.0 else coefficient  # what is not a number stays so


def _single(value: float) -> float:
    return ctypes.c_float(value).value
