"""An optimizer stepped without torch's labels: the same bits, and nobody who looks is passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR

from launcher.worker.unlabelled import Unlabelled

OPTIMIZERS: list[Callable[[Any], torch.optim.Optimizer]] = [
    torch.optim.AdamW,
    lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
]


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["adamw", "sgd"])
def test_the_bits_are_those_of_the_optimizers_own_step(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    weights = []
    for own in (True, False):
        model, optimizer = _model(), None
        optimizer = make(model.parameters())
        mine = Unlabelled(optimizer)
        for _ in range(4):
            optimizer.zero_grad() if own else mine.zero()
            model(torch.ones(2, 3)).sum().backward()
            optimizer.step() if own else mine.step()
        weights.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    assert torch.equal(*weights)


def test_hooks_are_called_at_every_step() -> None:
    optimizer, mine = _stepped()
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    mine.step()
    mine.step()
    assert called == ["before", "after"] * 2


def test_a_profiler_sees_the_step() -> None:
    _, mine = _stepped()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        mine.zero()
        mine.step()
    names = {event.key for event in profile.key_averages()}
    assert {"Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"} <= names


def test_a_step_of_the_users_own_is_taken() -> None:
    optimizer, mine = _stepped()
    taken: list[int] = []
    optimizer.step = lambda *_: taken.append(1)  # type: ignore[method-assign, assignment]
    mine.step()
    mine.step()
    assert taken == [1, 1]


def test_a_schedule_does_not_complain() -> None:
    optimizer = torch.optim.SGD(_model().parameters(), lr=0.1)
    mine, schedule = Unlabelled(optimizer), StepLR(optimizer, step_size=1)
    for _ in range(3):
        mine.step()
        schedule.step()  # a warning is an error here
    assert mine.own_step is not None


def test_a_group_added_later_is_zeroed_too() -> None:
    optimizer, mine = _stepped()
    late = torch.ones(2, requires_grad=True)
    late.grad = torch.ones(2)
    optimizer.add_param_group({"params": [late]})
    mine.zero()
    assert late.grad is None


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def _stepped() -> tuple[torch.optim.Optimizer, Unlabelled]:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss: Tensor = model(torch.ones(1, 3)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    mine = Unlabelled(optimizer)
    mine.step()
    mine.step()
    return optimizer, mine
