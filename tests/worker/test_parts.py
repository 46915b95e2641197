"""The parts of a step: weights, optimizers, losses, digests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from launcher.choices import Levers
from launcher.errors import JobFailed
from launcher.levers import ModelOptions
from launcher.worker import numerics
from launcher.worker.digest import weights_sha256
from launcher.worker.losses import LONGEST, Losses
from launcher.worker.models import Models
from launcher.worker.optimization import Optimization
from tests.worker import ranks

PLAN = SimpleNamespace(sharded=False, levers=Levers(), spec=SimpleNamespace(model=ModelOptions()))
ALONE: Any = SimpleNamespace(world_size=1, device=torch.device("cpu"), plan=PLAN)


def clipped(gradients: list[Tensor], tmp_path: Path, norm: float) -> list[Tensor]:
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    plan = ranks.plan_of(ranks.job("classifier", training={"steps": 1, "clip_norm": norm}), tmp_path)
    optimization = Optimization(torch.optim.SGD(parameters, lr=1.0), plan)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimization.step()
    return [-parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("kinds", [(torch.float32,) * 3, (torch.float32, torch.float64, torch.float32)])
def test_clipping_has_the_bits_of_torchs_own(kinds: tuple[torch.dtype, ...], norm: float, tmp_path: Path) -> None:
    gradients = [torch.randn(7, 5 + size, dtype=kind) for size, kind in enumerate(kinds)]
    expected = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(expected, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(expected, norm)
    for mine, theirs in zip(clipped(gradients, tmp_path, norm), expected, strict=True):
        assert theirs.grad is not None and torch.equal(mine, theirs.grad)


def test_exact_numerics_do_not_fill_memory_that_a_kernel_is_about_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    numerics.configure(ranks.plan_of(ranks.job("classifier", training={"steps": 1, "numerics": "exact"}), tmp_path))
    try:
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.empty(1 << 22).isnan().all()
        assert not torch.backends.cudnn.allow_tf32
        with torch.backends.cudnn.flags(enabled=False):  # as torch.export has it, and who differentiates an RNN twice
            assert not torch.backends.cudnn.enabled
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_digest_is_what_its_docstring_spells() -> None:
    weights = {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor(3), "c": torch.ones(2, 2, dtype=torch.bfloat16)}
    expected = hashlib.sha256(
        b"a\0int64\0\0" + b"\x03" + b"\0" * 7
        + b"b\0float32\x002\0" + bytes.fromhex("0000c03f000000c0")
        + b"c\0bfloat16\x002,2\0" + bytes.fromhex("803f") * 4
    )  # fmt: skip
    assert weights_sha256(weights) == expected.hexdigest()


def test_a_transposed_weight_is_hashed_in_row_major_order() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    assert (
        weights_sha256({"w": weight.T}) == weights_sha256({"w": weight.T.contiguous()}) != weights_sha256({"w": weight})
    )


def test_submodules_return_to_the_mode_they_were_in() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    model[1].eval()
    model[1][1].train()
    models = Models(model, ALONE)
    with pytest.raises(KeyError), models.evaluating():
        assert not any(each.training for each in model.modules())
        raise KeyError
    assert [each.training for each in model.modules()] == [True, True, False, False, True]


def test_several_models_weights_carry_their_names() -> None:
    models = Models({"left": nn.Linear(1, 1), "right": nn.Linear(1, 1, bias=False)}, ALONE)
    assert list(models.weights()) == ["left.weight", "left.bias", "right.weight"]


def test_a_weight_that_is_no_number_is_seen_but_a_buffer_may_be_infinite() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2,), -torch.inf))
    assert Models(model, ALONE).all_finite()
    with torch.no_grad():
        model.weight[1, 1] = torch.nan
    assert not Models(model, ALONE).all_finite()


def test_state_that_is_no_tensor_is_refused() -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> Any:
            return "text"

        def set_extra_state(self, state: Any) -> None: ...

    with pytest.raises(JobFailed, match="holds a str at _extra_state"):
        Models(Odd(1, 1), ALONE).weights()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_bad_step_is_found_when_the_losses_are_looked_at(bad: float) -> None:
    losses = Losses(ALONE)
    for step in range(1, 11):
        losses.add({"loss": torch.tensor(bad if step in (7, 9) else 1.0), "other": torch.tensor(2)})
    means, found = losses.together(10)
    assert found == (7, 0) and means == {"loss": 1.0, "other": 2.0}
    losses.add({"loss": torch.tensor(0.5)})
    assert losses.together(11) == ({"loss": 0.5}, None)


def test_losses_are_looked_at_from_time_to_time() -> None:
    losses = Losses(ALONE)
    for _ in range(LONGEST):
        assert not losses.full()
        losses.add({"loss": torch.tensor(1.0)})
    assert losses.full() and losses.newest() == 1.0
    losses.together(LONGEST)
    assert not losses.full() and losses.together(LONGEST) == ({"loss": 1.0}, None)
