"""The libraries torch is made of: whether the right ones are installed, found and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, check

if TYPE_CHECKING:
    from envcheck.sections.torch import Torch

MATMUL_TOLERANCE = 2e-3
"""Relative to the largest entry; TF32 keeps 10 bits, the operands need 4."""


@check("LIB020", remedy="reinstall torch: python -m pip install --force-reinstall torch", modes=("F34",))
def torch_can_be_imported(torch: Torch) -> Outcome:
    """torch can be imported.

    An undefined symbol here means that a library of another CUDA toolkit was found before the wheel's own.
    """
    return None if torch.failure is None else torch.failure


@check("LIB021", remedy="run `envcheck --select gpu`; drain the node if the product is still wrong", modes=("F97",))
def small_product_is_right(torch: Torch) -> Outcome:
    """A small matrix product on every device agrees with the float64 product."""
    for device in torch.devices:
        if device.failure:
            return f"{device.name}: {device.failure}"
        if device.matmul_error is not None and not device.matmul_error <= MATMUL_TOLERANCE:
            return f"{device.name}: the product is off by {device.matmul_error:.2g} of its largest entry"
    return None
