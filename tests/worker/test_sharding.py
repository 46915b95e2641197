"""`parallel.strategy: fsdp2` on two processes of a CPU: the same training as ddp's, resumed to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from launcher import checkpoints
from launcher.levers import ParallelOptions
from launcher.manifest import Damaged, verify
from launcher.plan import Plan
from launcher.spec import Checkpointing
from launcher.worker import sharding
from launcher.worker.checkpoint import Checkpoints
from launcher.worker.digest import weights_sha256
from tests.worker import ranks

SHARED = ParallelOptions(strategy="fsdp2")


def plan_of(folder: Path, parallel: ParallelOptions = SHARED, **training: Any) -> Plan:
    settings = {"epochs": 3, "accumulate": 2, "clip_norm": 0.5, **training}
    spec = ranks.job("classifier", world=2, training=settings, checkpoint=Checkpointing(every=3), parallel=parallel)
    return ranks.plan_of(spec, folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[Any]]:
    """An undisturbed run and how its ranks ended."""
    plan = plan_of(tmp_path_factory.mktemp("shared") / "run")
    return plan, ranks.ended(ranks.train(plan))


def losses(plan: Plan) -> list[float]:
    lines = (Path(plan.run_dir) / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def test_shards_train_to_the_losses_of_whole_models(shared: tuple[Plan, list[Any]], tmp_path: Path) -> None:
    whole = plan_of(tmp_path / "run", ParallelOptions())
    ranks.ended(ranks.train(whole))
    assert losses(shared[0]) == pytest.approx(losses(whole), rel=1e-4) and len(losses(whole)) > 5


def test_a_killed_run_of_shards_goes_on_to_the_same_bits(shared: tuple[Plan, list[Any]], tmp_path: Path) -> None:
    killed = plan_of(tmp_path / "run")
    assert ranks.train(killed, {"DISTURB": "*:12:SIGKILL"}) == [-9, -9]
    ends = ranks.ended(ranks.resume(killed))
    assert ends[0].weights_sha256 == shared[1][0].weights_sha256
    assert ranks.result(tmp_path / "run") == ranks.result(Path(shared[0].run_dir))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Any]:
    """The context of one rank, in a process group of its own."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield SimpleNamespace(device=torch.device("cpu"), world_size=1, plan=plan_of(tmp_path))
    dist.destroy_process_group()


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
    model[2].weight = model[0].weight
    return model


def test_tied_weights_of_layers_stay_one(alone: Any) -> None:
    model = tied()
    sharding.shard(model, alone)
    assert [isinstance(each, FSDPModule) for each in model] == [False, True, False]
    model(torch.arange(5)).square().sum().backward()
    assert model[2].weight is model[0].weight and isinstance(model[0].weight.grad, DTensor)


def test_a_root_held_whole_for_a_validation_is_shared_out_as_before(alone: Any) -> None:
    model = tied()
    sharding.shard(model, alone)
    for hold in (contextlib.nullcontext, lambda: sharding.whole([model])):
        with hold():
            model(torch.arange(5))
        output = model(torch.arange(5))
        assert [isinstance(each.weight, DTensor) for each in (model[0], model[1])] == [False, True]
        output.sum().backward()


def newest(plan: Plan) -> Path:
    root = checkpoints.folder(Path(plan.run_dir))
    return root / checkpoints.names(root)[0]


def test_each_rank_writes_its_part_under_one_manifest(shared: tuple[Plan, list[Any]]) -> None:
    files = verify(newest(shared[0])).files
    sizes = {name: each.size for name, each in files.items() if name.startswith("shard-")}
    assert files.keys() == sizes.keys() | {"shards.json", "training.json"}
    assert sorted(sizes) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    assert max(sizes.values()) < 2 * min(sizes.values())


def test_the_digest_of_shards_is_that_of_the_whole_state(shared: tuple[Plan, list[Any]]) -> None:
    plan, ends = shared
    loaded = Checkpoints(plan, rank=1).load(newest(plan).name)
    assert weights_sha256(loaded.model) == ends[0].weights_sha256
    states = loaded.training["optimizations"]["optimizer"]["optimizer"]["state"]
    assert {tuple(states[place]["exp_avg"].shape) for place in states} >= {(16, 8), (16,), (8,)}


def test_a_damaged_shard_is_named_before_anything_of_it_is_used(shared: tuple[Plan, list[Any]], tmp_path: Path) -> None:
    plan = dataclasses.replace(shared[0], run_dir=str(tmp_path))
    copy = checkpoints.folder(tmp_path) / newest(shared[0]).name
    shutil.copytree(newest(shared[0]), copy)
    damaged = copy / "shard-00001.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with pytest.raises(Damaged, match="shard-00001"):
        Checkpoints(plan, rank=1).load(copy.name)


@pytest.mark.parametrize("strategies", [("fsdp2", "ddp"), ("ddp", "fsdp2")])
def test_a_checkpoint_of_the_one_strategy_is_gone_on_from_by_the_other(
    strategies: Any, shared: tuple[Plan, list[Any]], tmp_path: Path
) -> None:
    first, second = (plan_of(tmp_path / "run", ParallelOptions(strategy=each)) for each in strategies)
    assert ranks.train(first, {"DISTURB": "*:12:SIGKILL"}) == [-9, -9]
    ranks.ended(ranks.resume(second))
    assert losses(second) == pytest.approx(losses(shared[0]), rel=1e-4)
