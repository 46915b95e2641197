import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher import machine, waiting
from launcher.errors import EnvironmentUnfit
from launcher.plan import Machine
from launcher.spec import JobSpec, LocalOptions, Resources, TaskSpec, Training
from launcher.sweep import devices
from launcher.sweep.devices import Share, share

SERVER = Machine(cores=64, gpus=8)
HOLD = """
import json, os, sys, time
from pathlib import Path
from launcher import machine
from launcher.sweep import devices
machine.gpu_names = lambda: ["GPU-a", "GPU-b", "GPU-c"]
gpus, cores, run = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
devices.take(devices.Share(gpus=gpus, cores=cores), run)
held = os.environ.get("CUDA_VISIBLE_DEVICES", ""), sorted(os.sched_getaffinity(0))
Path(sys.argv[4]).write_text(json.dumps(held))
time.sleep(600)
"""


def job(backend: Any = "local", **resources: Any) -> JobSpec:
    training = Training(steps=1)
    return JobSpec(
        name="a", task=TaskSpec(target="a.py:b"), training=training, resources=Resources(**resources), backend=backend
    )


@pytest.mark.parametrize(
    ("about", "parallel", "gets"),
    [
        ({}, 4, Share(gpus=2, cores=16)),
        ({}, 3, Share(gpus=2, cores=21)),
        ({"procs_per_node": 1}, 8, Share(gpus=1, cores=8)),
        ({"nodes": 2}, 2, Share(gpus=4, cores=32)),
        ({"device": "cpu"}, 4, Share(gpus=0, cores=16)),
        ({"backend": "slurm"}, 4, None),
    ],
)
def test_the_machine_is_shared_out(about: dict[str, Any], parallel: int, gets: Share | None) -> None:
    assert share(job(**about), SERVER, parallel) == gets


def test_more_gpus_than_there_are_is_unfit() -> None:
    with pytest.raises(EnvironmentUnfit) as refusal:
        share(job(procs_per_node=4), SERVER, 3)
    assert refusal.value.message == "parallel: 3 trials of 4 GPUs want 12, and here are 8"
    assert refusal.value.hint == "write parallel: 2, or --set resources.device=cpu"


def test_more_threads_than_a_share_has_cores_are_unfit() -> None:
    asked = dataclasses.replace(job(procs_per_node=2, device="cpu"), local=LocalOptions(threads=8))
    assert share(asked, SERVER, 4) == Share(gpus=0, cores=16)
    with pytest.raises(EnvironmentUnfit) as refusal:
        share(asked, SERVER, 5)
    assert refusal.value.message == "parallel: 5 trials of 16 threads want 80 cores, and here are 64"
    assert refusal.value.hint == "write parallel: 4, or --set local.threads=auto"


@pytest.fixture
def hold(tmp_path: Path) -> Any:
    """Holds a share in a process of its own; `held` waits for what it got."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(gpus: int, cores: int, run: str) -> tuple[subprocess.Popen[bytes], Path]:
        told = tmp_path / f"{run}.json"
        words = [sys.executable, "-c", HOLD, str(gpus), str(cores), str(tmp_path / run), str(told)]
        environ = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
        processes.append(subprocess.Popen(words, env=environ))
        return processes[-1], told

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def held(told: Path) -> tuple[str, list[int]]:
    assert waiting.until(lambda: told.exists() and told.stat().st_size, 60)
    gpus, cores = json.loads(told.read_text())
    return gpus, cores


@pytest.mark.parametrize(("granted", "pinned"), [(4, [{0, 1}]), (2, [])])
def test_cores_are_pinned_only_where_the_mask_is_what_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: int, pinned: list[set[int]]
) -> None:
    given: list[set[int]] = []
    monkeypatch.setattr(devices, "_folder", lambda: tmp_path)
    monkeypatch.setattr(machine, "inspect", lambda: Machine(cores=granted))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: given.append(set(cores)))
    devices.take(Share(gpus=0, cores=2), tmp_path)
    assert given == pinned


def test_two_never_have_one_device_and_a_killed_ones_is_free_again(hold: Any) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core is not shared out")
    first, one = hold(1, 1, "one")
    assert held(one)[0] == "GPU-a"
    _, two = hold(2, 1, "two")
    assert held(two)[0] == "GPU-b,GPU-c" and not set(held(one)[1]) & set(held(two)[1])
    _, three = hold(1, 1, "three")
    assert not waiting.until(three.exists, 0.7)
    first.kill()
    first.wait()
    assert held(three) == held(one)
