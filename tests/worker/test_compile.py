"""`model.compile` as far as it goes without a compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from launcher.levers import ModelOptions
from launcher.worker import network
from tests.worker import ranks


@pytest.mark.parametrize("checkpoint", ["none", "full"])
def test_layers_of_torchs_own_are_compiled_too_each_shape_for_itself(
    checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[Any] = []

    def backend(graph: Any, inputs: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, mode, dynamic: compiled(call, backend=backend, dynamic=dynamic))
    monkeypatch.setattr(network, "_check_compiler", lambda device, asked: None)
    monkeypatch.setattr(network, "_compile_alike", lambda: None)
    options = ModelOptions(compile="default", activation_checkpoint=checkpoint)
    plan = ranks.plan_of(ranks.job("classifier", training={"steps": 1}, model=options), tmp_path)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    network.arrange(model, plan)
    network.compile([model], plan)
    for samples in (3, 3, 2):
        model(torch.randn(samples, 4)).sum().backward()
    assert len(graphs) == 2
