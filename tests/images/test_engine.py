"""What is asked of an engine before anything is built or run, of the fake one where a real one cannot be had."""

import gc
import platform
from pathlib import Path
from typing import Any

import pytest

from launcher import jobfile, plan, store
from launcher.backends import docker
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import build, diff, engine, versions
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec
from tests.images.fake_engine import DIGEST, answering

JOB = versions.ROOT / "jobs" / "mlp.yaml"

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the fake engine's images are for x86_64")


def settled(*changes: str) -> JobSpec:
    return docker.settle(jobfile.load(JOB, ["backend=docker", f"image={DIGEST}", *changes]), JOB)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"version": {"Version": "20.10.24+dfsg1"}}, "the engine is Docker 20.10.24"),
        ({"info": {"DriverStatus": [["Backing Filesystem", "extfs"]]}}, "does not use the containerd image store"),
    ],
)
def test_an_engine_that_cannot_build_reproducibly_is_refused(
    answers: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.shell.read", lambda _argv: "buildx")
    with answering(tmp_path, monkeypatch, **answers), pytest.raises(EnvironmentUnfit, match=sentence):
        engine.need_reproducible_builds(engine.connect())


def test_an_engine_without_buildx_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.shell.read", lambda _argv: None)
    with answering(tmp_path, monkeypatch), pytest.raises(EnvironmentUnfit, match="no buildx plugin"):
        engine.need_reproducible_builds(engine.connect())


def test_an_engine_without_its_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(tmp_path, monkeypatch), pytest.raises(EnvironmentUnfit, match="docker command is missing") as caught:
        (tmp_path / "docker").unlink()
        settled("resources.device=cpu")
    assert "docker-cli" in str(caught.value.hint)


def test_a_stopped_engine_is_said_to_be_stopped_and_no_socket_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(tmp_path, monkeypatch):
        pass
    with pytest.raises(EnvironmentUnfit, match="no Docker engine answers"):
        engine.connect()
    gc.collect()  # which would warn of one


def test_an_image_of_another_architecture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"Architecture": "arm64"}
    with answering(tmp_path, monkeypatch, images=image), pytest.raises(EnvironmentUnfit, match="made for arm64"):
        settled()


def test_an_image_the_engine_does_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"image=sha256:{'b' * 64}"
    with answering(tmp_path, monkeypatch), pytest.raises(EnvironmentUnfit, match="the engine does not hold sha256:b"):
        settled(other)


def test_comparing_an_image_that_is_nowhere_is_a_wrong_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    with answering(tmp_path, monkeypatch), pytest.raises(RequestError, match="holds no image launcher:none"):
        list(diff.named("launcher:none", "launcher:none"))


@pytest.mark.parametrize(("options", "user"), [(["name=seccomp"], "caller"), (["name=rootless"], "root")])
def test_a_rootless_engine_runs_containers_as_its_own_root_who_is_the_caller(
    options: list[str], user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(tmp_path, monkeypatch, info={"SecurityOptions": options}):
        assert settled().docker.user == user


@pytest.mark.parametrize(("runtimes", "way"), [({"nvidia": {}}, "runtime"), ({}, "cdi")])
def test_gpus_come_by_what_the_engine_has(
    runtimes: dict[str, Any], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "driver", lambda: "580.95.05")
    (tmp_path / "nvidia.yaml").touch()
    with answering(tmp_path, monkeypatch, info={"Runtimes": runtimes, "CDISpecDirs": [str(tmp_path)]}):
        assert settled().docker.gpus == way


def test_an_engine_that_cannot_give_its_gpus_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "driver", lambda: "580.95.05")
    with answering(tmp_path, monkeypatch), pytest.raises(EnvironmentUnfit) as caught:
        settled()
    assert "nvidia-container-toolkit" in str(caught.value.hint)


def test_a_driver_too_old_for_the_image_of_a_digest_names_the_one_that_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "driver", lambda: "535.129.03")
    with answering(tmp_path, monkeypatch), pytest.raises(EnvironmentUnfit, match="cu130 does not run here") as caught:
        settled()
    assert caught.value.hint == "--set image=cu128 would run"


def test_an_image_without_cuda_leaves_a_job_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "driver", lambda: "580.95.05")
    image = {"Config": {"Labels": {"launcher.variant": "cpu"}}}
    with answering(tmp_path, monkeypatch, images=image):
        assert settled().resources.device == "cpu"
        with pytest.raises(EnvironmentUnfit, match="cpu holds no CUDA") as caught:
            settled("resources.device=cuda")
    assert caught.value.hint == "--set image=cu130"


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("kill", "node 1: its container was sent signal 9 by someone else than the launcher"),
        ("oom", "node 1: a process of its container was ended because the memory was full"),
    ],
)
def test_what_the_engine_saw_done_to_a_container_is_told(
    action: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = planned()
    event = {"Action": action, "Actor": {"Attributes": {"name": "run-1-1", "signal": "9"}}}
    heard: list[dict[str, Any]] = []
    with answering(tmp_path, monkeypatch, events=event):
        docker.collect(decided, store.RunFolder(tmp_path), None, heard.append)
    assert [event["text"] for event in heard] == [told]


def test_what_was_done_to_another_runs_container_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []
    with answering(tmp_path, monkeypatch):
        docker.collect(planned(), store.RunFolder(tmp_path), None, heard.append)
    assert heard == []


def planned() -> Plan:
    spec = jobfile.load(JOB, ["backend=docker", f"image={DIGEST}", "resources.nodes=2"])
    here = Machine(cores=4, gpus=0, bf16=True)
    return plan.make(spec, run_id="run", run_dir=Path("/runs/run"), job_dir=JOB.parent, machine=here)
