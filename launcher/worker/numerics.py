"""`training.numerics` and `training.precision` as torch's settings."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from launcher.plan import Plan

AUTOCAST_TYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def configure(plan: Plan) -> None:
    """Set the process up for the plan. exact: the same bits each time, or an error from the kernel that cannot."""
    torch.set_num_threads(plan.threads)
    exact = plan.spec.training.numerics == "exact"
    torch.use_deterministic_algorithms(exact)
    # Else torch fills each new tensor before a kernel writes it: 3 % of a small transformer's step, 7 % in bf16. Only a
    # program that reads what nobody wrote could tell.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = exact
    torch.backends.cudnn.benchmark = not exact
    # By their older names: where the newer ones say "ieee", torch.backends.cudnn.flags() raises, and so torch.export.
    torch.backends.cuda.matmul.allow_tf32 = not exact
    torch.backends.cudnn.allow_tf32 = not exact


def autocast(plan: Plan) -> AbstractContextManager[object]:
    """A context to compute the loss in; it may be entered many times."""
    if plan.precision not in AUTOCAST_TYPES:
        return nullcontext()
    return torch.autocast(plan.device, dtype=AUTOCAST_TYPES[plan.precision])


def scaler(plan: Plan) -> torch.amp.GradScaler | None:
    """fp16 has few exponents: the loss is scaled up so that small gradients do not vanish."""
    return torch.amp.GradScaler(plan.device) if plan.precision == "fp16" else None
