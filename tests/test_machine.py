from pathlib import Path

import pytest

from launcher import machine, plan
from launcher.backends import local
from launcher.plan import Machine
from launcher.spec import JobSpec, Resources, TaskSpec, Training

UUIDS = ["GPU-aaaa", "GPU-abbb", "GPU-cccc"]


@pytest.mark.parametrize(("visible", "named"), [("2,0", ["GPU-cccc", "GPU-aaaa"]), ("GPU-c,7", ["GPU-cccc", "7"])])
def test_gpus_have_names_that_no_order_changes(visible: str, named: list[str]) -> None:
    assert machine._by_uuid(visible.split(","), UUIDS) == named


@pytest.mark.parametrize("visible", ["", "-1"])
def test_no_gpu_is_visible_where_none_is_named(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.visible_gpus() == [] and machine.inspect().gpus == 0


@pytest.mark.parametrize(("visible", "parts"), [(None, ["0", "1"]), ("GPU-a,5", ["GPU-a", "5"])])
def test_local_nodes_share_out_the_gpus_that_are_visible(
    visible: str | None, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    spec = JobSpec(
        name="a", task=TaskSpec(target="a.py:f"), resources=Resources(nodes=2), training=Training(steps=1, batch_size=2)
    )
    gpus = Machine(cores=4, gpus=2)
    decided = plan.make(spec, run_id="r", run_dir=Path("/r"), job_dir=Path("/j"), machine=gpus)
    commands = local.render(decided).commands
    assert [command.request["env"]["CUDA_VISIBLE_DEVICES"] for command in commands] == parts
