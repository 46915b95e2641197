"""One optimizer's part of a step: backward, clipping, stepping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from launcher.plan import Plan
from launcher.worker import numerics


def learning_rates(optimizations: Mapping[str, Optimization]) -> dict[str, float]:
    """The rates by the names they are logged under: `lr`, or with several optimizers `lr.<name>`."""
    alone = len(optimizations) == 1
    return {"lr" if alone else f"lr.{name}": each.learning_rate() for name, each in optimizations.items()}


class Optimization:
    """An optimizer with its gradient scaler, if any, and its clipping."""

    def __init__(self, optimizer: Optimizer, plan: Plan) -> None:
        self.optimizer = optimizer
        self.scaler = numerics.scaler(plan)
        self.clip_norm = plan.spec.training.clip_norm
        self.parameters: list[Tensor] = [each for group in optimizer.param_groups for each in group["params"]]
        self.alike = len({(each.device, each.dtype) for each in self.parameters}) == 1

    def zero(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Clip and step. fp16: where a gradient overflowed, the scaler skips the step and lowers the scale."""
        if self.scaler is None:
            self._clip()
            self.optimizer.step()
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
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _clip(self) -> None:
        """The bits of `torch.nn.utils.clip_grad_norm_`, without its sorting of gradients by device and type."""
        if self.clip_norm is None:
            return
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        if not self.alike or any(gradient.is_sparse for gradient in gradients):
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        elif gradients:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            coefficient = torch.clamp(self.clip_norm / (norm + 1e-6), max=1.0)
            # On the CPU looking costs nothing, and times one changes no bit; a GPU would have to be waited for.
            if coefficient.is_cuda or float(coefficient) != 1.0:
                torch._foreach_mul_(gradients, coefficient)
