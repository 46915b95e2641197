"""A state of an optimizer is taken for other parameters' only where its shapes say so."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from launcher.errors import RequestError
from launcher.worker import matching
from launcher.worker.optimization import Optimization
from tests.worker import ranks


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 3), nn.Linear(3, 2))


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.linspace(0, 1, 8).view(2, 4)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_adafactor_goes_on_from_its_reduced_state_to_the_same_bits(tmp_path: Path) -> None:
    plan = ranks.plan_of(ranks.job("classifier", training={"steps": 1}), tmp_path)
    models = [network(), network()]
    through, resumed = (Optimization(torch.optim.Adafactor(each.parameters()), plan) for each in models)
    stepped(models[0], through.optimizer)
    models[1].load_state_dict(models[0].state_dict())
    saved = copy.deepcopy(through.state())
    matching.check_shapes("only", resumed.optimizer, saved["optimizer"])
    resumed.load(saved)
    for model, each in zip(models, (through, resumed), strict=True):
        stepped(model, each.optimizer)
    assert torch.equal(models[0][0].weight, models[1][0].weight)


def test_the_flat_state_of_lbfgs_is_not_taken_for_other_parameters() -> None:
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    stepped(model, optimizer)
    matching.check_shapes("only", optimizer, optimizer.state_dict())


def test_moments_of_another_shape_are_refused() -> None:
    model, wider = network(4), network(5)
    optimizer = torch.optim.AdamW(model.parameters())
    stepped(model, optimizer)
    with pytest.raises(RequestError, match=r"a parameter of shape \(3, 4\), here \(3, 5\)"):
        matching.check_shapes("only", torch.optim.AdamW(wider.parameters()), optimizer.state_dict())
