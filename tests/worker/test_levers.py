"""What the levers do to a model, an optimizer and the batches, without a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from launcher.choices import Levers
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.levers import ModelOptions, OptimizerOptions
from launcher.plan import Plan
from launcher.worker import network, transfer
from launcher.worker.optimization import Optimization
from tests.worker import ranks


def plan_of(folder: Path, levers: Levers | None = None, **sections: Any) -> Plan:
    sections.setdefault("training", {"steps": 1})
    plan = ranks.plan_of(ranks.job("classifier", **sections), folder)
    return dataclasses.replace(plan, levers=levers) if levers else plan


class Blocks(nn.Module):
    """Batch statistics and dropout in what is computed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)) for _ in range(2)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.stem(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def trained(model: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    for _ in range(2):
        model(torch.randn(6, 4)).square().mean().backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {**gradients, **dict(model.named_buffers())}


def test_layers_computed_twice_give_the_same_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = Blocks()
    twice = Blocks()
    twice.load_state_dict(plain.state_dict())
    network.arrange(twice, plan_of(tmp_path, model=ModelOptions(activation_checkpoint="full")))
    left, right = trained(plain), trained(twice)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_layers_computed_twice_keep_only_their_inputs(tmp_path: Path) -> None:
    model, kept = Blocks(), [0, 0]
    for round_, plan in enumerate(
        (plan_of(tmp_path), plan_of(tmp_path, model=ModelOptions(activation_checkpoint="full")))
    ):
        network.arrange(model, plan)

        def count(tensor: Tensor, round_: int = round_) -> Tensor:
            kept[round_] += 1
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(torch.randn(6, 4))
    assert kept[1] < kept[0]


def test_a_model_without_repeated_layers_cannot_compute_them_twice(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="activation_checkpoint is full"):
        network.arrange(nn.Linear(2, 2), plan_of(tmp_path, model=ModelOptions(activation_checkpoint="full")))


def test_the_repeated_layers_of_a_nested_model_are_found_once() -> None:
    model = nn.ModuleDict(
        {"head": nn.Linear(2, 2), "body": nn.Sequential(Blocks(), nn.ReLU(), nn.ModuleList([Blocks()]))}
    )
    assert [type(each) for each in network.layers(model)] == [Blocks, Blocks]


def test_convolutions_lie_with_their_channels_last_and_other_models_are_left_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Levers(channels_last=True))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    network.arrange(model, plan)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not model[0].weight.is_contiguous()


def test_a_loaded_state_lies_as_one_made_in_training(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Levers(channels_last=True))
    model = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimization = Optimization(torch.optim.AdamW(model.parameters()), plan)
    model(torch.randn(1, 3, 5, 5)).sum().backward()
    optimization.step()
    saved = optimization.state()
    for each in saved["optimizer"]["state"].values():
        each["exp_avg"] = each["exp_avg"].contiguous()
    optimization.load(saved)
    assert optimization.optimizer.state[model.weight]["exp_avg"].stride() == model.weight.stride()


def test_an_optimizer_is_fused_after_the_fact_and_stays_so_with_a_state_that_was_not(tmp_path: Path) -> None:
    parameters = [nn.Parameter(torch.ones(3))]
    plain = Optimization(torch.optim.AdamW(parameters), plan_of(tmp_path))
    parameters[0].grad = torch.ones(3)
    plain.step()
    fused = Optimization(torch.optim.AdamW(parameters), plan_of(tmp_path, Levers(fused=True)))
    fused.load(plain.state())
    fused.step()
    assert [group["fused"] for group in fused.optimizer.param_groups] == [True]
    assert fused.optimizer.state[parameters[0]]["step"] == 2


def test_an_optimizer_that_the_target_fused_is_left_alone_or_undone(tmp_path: Path) -> None:
    def built() -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.ones(3))], fused=True)

    left, undone = (Optimization(built(), plan_of(tmp_path, Levers(fused=each))) for each in (None, False))
    assert (left.optimizer.param_groups[0]["fused"], undone.optimizer.param_groups[0]["fused"]) == (True, None)


def test_a_state_that_was_saved_fused_is_stepped_as_the_target_built_it(tmp_path: Path) -> None:
    fast, exact = (
        Optimization(torch.optim.AdamW([nn.Parameter(torch.ones(3))], lr=rate), plan_of(tmp_path, Levers(fused=fused)))
        for rate, fused in ((0.5, True), (0.1, None))
    )
    exact.load(fast.state())
    (group,) = exact.optimizer.param_groups
    assert (group["fused"], group["foreach"], group["lr"]) == (None, None, 0.5)


def test_an_optimizer_that_cannot_be_fused_is_named_where_the_job_insists(tmp_path: Path) -> None:
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.ones(3))])
    Optimization(optimizer, plan_of(tmp_path, Levers(fused=True)))
    with pytest.raises(RequestError, match=r"optimizer\.fused is true, and the target's RMSprop"):
        Optimization(optimizer, plan_of(tmp_path, optimizer=OptimizerOptions(fused=True)))


def test_a_node_without_a_compiler_is_told_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(EnvironmentUnfit, match=r"model\.compile is default, and this node has no compiler"):
        network.compile([nn.Linear(2, 2)], plan_of(tmp_path, model=ModelOptions(compile="default")))


def test_batches_that_go_ahead_are_the_same_ones_each_taken_before_it_is_asked_for(tmp_path: Path) -> None:
    taken: list[int] = []

    def source() -> Any:
        for number in range(4):
            taken.append(number)
            yield {"x": torch.full((2,), number)}

    context: Any = SimpleNamespace(plan=plan_of(tmp_path, Levers(ahead=True)), device=torch.device("cpu"))
    seen = []
    for number, batch in enumerate(transfer.ahead(source(), context)):
        assert len(taken) == min(number + 2, 4)
        seen.append(int(batch["x"][0]))
    assert seen == [0, 1, 2, 3]
