"""`model.compile` with the compiler of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from launcher.levers import ModelOptions
from launcher.spec import Checkpointing
from launcher.worker import network
from tests.worker import ranks

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


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


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(COMPILER is None, reason="torch.compile makes C++ for a CPU, and this machine has no C++ compiler")
def test_a_compiled_run_goes_on_to_the_same_bits_after_a_kill(tmp_path: Path) -> None:
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    job = ranks.job(
        "classifier",
        args={"normalize": False, "samples": 48},
        training={"steps": 6, "validate_every": 100},
        checkpoint=Checkpointing(every=3),
        model=ModelOptions(compile="default"),
    )
    undisturbed, killed = (ranks.plan_of(job, tmp_path / name) for name in ("undisturbed", "killed"))
    ranks.ended(ranks.train(undisturbed, environment, within=400))
    assert ranks.train(killed, {**environment, "DISTURB": "*:6:SIGKILL"}) == [-9]
    ranks.ended(ranks.resume(killed, environment))
    assert ranks.result(tmp_path / "killed") == ranks.result(tmp_path / "undisturbed")
