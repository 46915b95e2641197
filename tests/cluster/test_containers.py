"""The docker backend on hosts that ssh reaches: a real engine on each, a stand-in for the worker in the image."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import engines as engine
from tests.cluster.conftest import Run
from tests.cluster.engines import Engines
from tests.cluster.lab import NODES, Lab, until
from tests.cluster.test_ssh import BOUND

Start = Callable[..., Run]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def engines(lab: Lab, torchless: Path) -> Engines:
    reason = engine.missing()
    if reason:
        pytest.skip(reason)
    return Engines(lab, torchless)


@pytest.fixture
def contain(start: Start, engines: Engines) -> Iterator[Start]:
    def begin(*settings: str, **given: object) -> Run:
        asked = ("backend=docker", f"image={engines.image}", "resources.device=cpu")
        return start(*asked, *settings, **given)

    yield begin


def left(engines: Engines) -> list[str]:
    return [name for node in NODES for name in engines.containers(node)]


@pytest.mark.parametrize("sync", ["shared", "rsync"])
def test_each_host_runs_its_node_in_a_container_and_keeps_none(contain: Start, engines: Engines, sync: str) -> None:
    run = contain(f"ssh.sync={sync}", "training.steps=40")
    assert until(lambda: len(left(engines)) == 2 or run.process.poll() is not None, 60)
    code, _, err = run.wait()
    assert code == 0, err
    assert left(engines) == []


def test_a_killed_launcher_leaves_no_container_on_any_host(contain: Start, engines: Engines) -> None:
    run = contain("training.steps=4000")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    run.kill(signal.SIGKILL)
    assert until(lambda: not left(engines), BOUND), left(engines)


def test_a_host_whose_container_is_killed_is_named_and_a_new_attempt_begins(contain: Start, engines: Engines) -> None:
    run = contain("training.steps=4000", "retry.max=1")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    engines.docker("node-b", "kill", *engines.containers("node-b"))
    assert until(lambda: any(run.runs.glob("*/logs/attempt-2/rank-1.log")), 60), run.record.root_cause
    assert run.events("retrying")[0]["cause"]["host"] == "node-b"
    run.kill(signal.SIGTERM)
    assert run.wait()[0] == 130 and left(engines) == []


def test_an_engine_without_the_image_is_named_with_what_brings_it_there(contain: Start) -> None:
    code, _, err = contain(f"image=sha256:{'0' * 64}").wait()
    assert code == 3 and "node-a: its engine does not hold the image" in err
    assert f"docker save sha256:{'0' * 64} | ssh node-a docker load" in err
