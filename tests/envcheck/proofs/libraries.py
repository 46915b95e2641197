"""Faults of the libraries torch is made of."""

from __future__ import annotations

from envcheck.sections.torch import TorchDevice
from tests.envcheck.bench import Bench
from tests.envcheck.proof import fake


def working_torch(bench: Bench) -> None:
    bench.change("torch", version="2.13.0", devices=(TorchDevice("cpu", matmul_error=0.0),))


PROOFS = [
    fake(
        "LIB020",
        "F34",
        "an import that ends in an undefined symbol",
        "undefined symbol: __nvJitLinkComplete_12_4",
        base=working_torch,
        plant=lambda bench: bench.change("torch", failure="ImportError: undefined symbol: __nvJitLinkComplete_12_4"),
    ),
    fake(
        "LIB021",
        "F97",
        "a product with one wrong entry",
        "off by 0.25",
        base=working_torch,
        plant=lambda bench: bench.change("torch", devices=(TorchDevice("cuda:0", matmul_error=0.25),)),
    ),
]
