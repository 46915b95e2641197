"""The docker backend: what it would start, and what it refuses."""

import contextlib
import dataclasses
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from launcher import jobfile, plan, shell, store
from launcher.backends import container, docker
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import build, engine, versions
from launcher.plan import Machine, Plan
from launcher.spec import SshOptions

DIGEST = "sha256:" + "a" * 64
JOB = versions.ROOT / "jobs" / "mlp.yaml"


@pytest.fixture
def decided() -> Plan:
    spec = jobfile.load(JOB, ["backend=docker", "resources.nodes=2", f"image={DIGEST}"])
    return plan.make(
        spec, run_id="r", run_dir=Path("/runs/r"), job_dir=Path("/jobs"), machine=Machine(cores=4, gpus=4, bf16=True)
    )


def options(planned: Plan, node_rank: int) -> str:
    return " ".join(docker.render(planned).commands[node_rank].argv)


def test_every_node_runs_the_image_by_its_digest_and_nothing_is_pulled(decided: Plan) -> None:
    for node_rank in range(2):
        assert " --pull never " in options(decided, node_rank)
        assert f" {DIGEST} python -P -m launcher.node" in options(decided, node_rank)


def test_only_the_run_folder_can_be_written(decided: Plan) -> None:
    assert "--read-only" in options(decided, 0)
    assert "--volume /runs/r:/runs/r --volume /jobs:/jobs:ro" in options(decided, 0)


def on_hosts(planned: Plan, **options: Any) -> Plan:
    ssh = SshOptions(hosts=("a", "b"), **options)
    return dataclasses.replace(planned, spec=dataclasses.replace(planned.spec, ssh=ssh))


def test_where_hosts_are_named_each_runs_a_container_that_is_itself_to_its_peers(decided: Plan) -> None:
    first, second = docker.BACKEND.render(on_hosts(decided)).commands
    assert (first.argv[0], first.argv[-2], second.argv[-2]) == ("ssh", "a", "b")
    assert "docker run --rm --interactive --pull never" in first.argv[-1] and "--network host" in first.argv[-1]
    assert first.argv[-1].endswith(f" {DIGEST} python -P -m launcher.node") and "--cap-drop ALL" in first.argv[-1]
    assert "src=/runs/r,dst=/runs/r " in first.argv[-1] and "src=/jobs,dst=/jobs,readonly" in first.argv[-1]


def test_hosts_that_share_no_files_mount_what_was_copied_to_them(decided: Plan) -> None:
    words = docker.BACKEND.render(on_hosts(decided, sync="rsync")).commands[0].argv[-1]
    assert 'src="$HOME"/.launcher/r,dst=/launcher/.launcher/r --workdir /launcher' in words and "/jobs" not in words
    assert words.count("--mount") == 1 and "--volume" not in words


def test_each_host_has_its_own_gpus(decided: Plan) -> None:
    words = [command.argv[-1] for command in docker.BACKEND.render(on_hosts(decided)).commands]
    assert all("--gpus '\"device=0,1\"'" in each for each in words)


def test_an_image_by_digest_wants_the_device_said_where_hosts_hold_it() -> None:
    with pytest.raises(RequestError, match="auto cannot be decided") as caught:
        docker.settle(jobfile.load(JOB, ["backend=docker", "ssh.hosts=[a]", f"image={DIGEST}"]), JOB)
    assert caught.value.hint == "--set resources.device=cpu or cuda"


SAID_ON_A_HOST = {
    "docker: Error response from daemon: No such image: x": (
        "does not hold the image",
        f"docker save {DIGEST} | ssh gpu-1 docker load",
    ),
    "docker: Cannot connect to the Docker daemon at unix:///run": (
        "no Docker engine answers",
        "systemctl start docker",
    ),
    "docker: permission denied while trying to connect": ("may not speak to its engine", "usermod -aG docker $USER'"),
    "invalid mount config: bind source path does not exist: /r": ("a folder is not there", "ssh.sync=rsync"),
    'could not select device driver "" with capabilities: [[gpu]]': ("no GPUs to give", "nvidia-container-toolkit"),
    "sh: 1: exec: docker: not found": ("docker is not there", "install Docker"),
    "something new": ("did not start the container (something new)", "ssh gpu-1 docker ps"),
}


@pytest.mark.parametrize("said", SAID_ON_A_HOST)
def test_what_docker_says_on_a_host_becomes_a_sentence_and_a_remedy(said: str) -> None:
    meaning, remedy = SAID_ON_A_HOST[said]
    said += "\n\nRun 'docker run --help' for more information"
    error = container.explain("gpu-1", container.NOT_STARTED, said, image=DIGEST)
    assert error.message.startswith("gpu-1: ") and meaning in error.message and remedy in str(error.hint)


def test_nodes_share_the_machines_gpus_out(decided: Plan) -> None:
    assert [options(decided, node).partition("--gpus ")[2].split()[0] for node in range(2)] == [
        '"device=0,1"',
        '"device=2,3"',
    ]


def test_gpus_are_named_by_their_cdi_names_where_the_engine_has_those(decided: Plan) -> None:
    options_of_docker = dataclasses.replace(decided.spec.docker, gpus="cdi")
    by_cdi = dataclasses.replace(decided, spec=dataclasses.replace(decided.spec, docker=options_of_docker))
    assert "--device nvidia.com/gpu=2 --device nvidia.com/gpu=3" in options(by_cdi, 1)
    assert "--gpus" not in options(by_cdi, 1)


def test_a_job_on_the_cpu_asks_for_no_gpu(decided: Plan) -> None:
    assert "--gpus" not in options(dataclasses.replace(decided, device="cpu"), 0)


def test_a_driver_too_old_for_the_image_names_the_one_that_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "connect", lambda: None)
    monkeypatch.setattr(versions, "driver", lambda: "535.129.03")
    with pytest.raises(EnvironmentUnfit, match="cu130 does not run here: it needs driver 580") as caught:
        docker.settle(jobfile.load(JOB, ["backend=docker", "image=cu130"]), JOB)
    assert caught.value.hint == "--set image=cu128 would run"


def test_an_image_that_is_not_built_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "connect", lambda: None)
    monkeypatch.setattr(build, "last", lambda _variant: None)
    with pytest.raises(EnvironmentUnfit) as caught:
        docker.settle(jobfile.load(JOB, ["backend=docker"]), JOB)
    assert caught.value.hint == "launcher images build cpu"


class Engine:
    """Answers with these events, or with a fault; has no containers."""

    def __init__(self, *events: dict[str, str] | Exception) -> None:
        self._events, self.containers = events, self

    def events(self, **_asked: object) -> Iterator[dict[str, Any]]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield {"Action": event.pop("Action"), "Actor": {"Attributes": event}}

    def list(self, **_asked: object) -> tuple[()]:
        return ()


def told_of(answering: Engine, planned: Plan, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(engine, "connect", lambda: answering)
    told: list[str] = []
    docker.collect(planned, store.RunFolder(Path("/runs/r")), None, lambda event: told.append(event["text"]))
    return told


def test_the_same_thing_done_to_a_container_is_told_once(decided: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_of(Engine(*({"Action": "oom", "name": "r-1-1"} for _ in range(5))), decided, monkeypatch)
    assert told == ["node 1: a process of its container was ended because the memory was full"]


def test_a_kill_of_which_the_engine_names_no_signal_is_told(decided: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sent signal ? by" in told_of(Engine({"Action": "kill", "name": "r-1-0"}), decided, monkeypatch)[0]


@pytest.mark.parametrize("fault", [APIError("busy"), EnvironmentUnfit("no engine"), ConnectionResetError("gone")])
def test_an_engine_that_does_not_answer_after_an_attempt_is_told_and_no_failure(
    fault: Exception, decided: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told_of(Engine(fault), decided, monkeypatch) == [
        f"the engine does not answer for the attempt's containers: {fault}"
    ]


def _unready() -> str | None:
    """Why containers of this very commit cannot be run here."""
    built = build.last(versions.read().variant("cpu"))
    try:
        with contextlib.closing(engine.connect()) as client:
            held = built is not None and engine.find(client, built.digest) is not None
    except EnvironmentUnfit as error:
        return error.message
    if built is None or not held:
        return "launcher:cpu is not built"
    head = shell.read(["git", "-C", str(versions.ROOT), "rev-parse", "HEAD"])
    return None if built.commit == (head or "").strip() else "launcher:cpu was built from another commit"


REASON = _unready() if shutil.which("docker") else "docker is not installed"
with_containers = pytest.mark.skipif(REASON is not None, reason=REASON or "")


def launch(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "launcher", "run", str(JOB), "--nodes", "2"]
    return subprocess.Popen(
        [*argv, "--runs-dir", str(folder), *words],
        cwd=versions.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def newest(folder: Path) -> store.RunRecord:
    return store.record(store.find(folder, "latest"))


@with_containers
def test_two_containers_give_the_bits_of_two_local_nodes(tmp_path: Path) -> None:
    digests = []
    for backend in ("docker", "local"):
        short = ["--backend", backend, "--set", "training.epochs=2"]
        assert launch(tmp_path, *short).wait(timeout=150) == 0
        digests.append(newest(tmp_path).weights_sha256)
    assert digests[0] == digests[1] is not None


@with_containers
def test_a_killed_launcher_leaves_no_container(tmp_path: Path) -> None:
    process = launch(tmp_path, "--backend", "docker", "--set", "training.epochs=5000")
    try:
        assert poll(lambda: len(containers(tmp_path)) == 2)
    finally:
        process.kill()
        process.wait()
    assert poll(lambda: not containers(tmp_path))


def containers(folder: Path) -> list[str]:
    runs = [path.name for path in folder.iterdir()]
    label = f"label={container.LABEL}={runs[0]}" if runs else "label=none"
    return (shell.read(["docker", "ps", "--all", "--quiet", "--filter", label]) or "").split()


def poll(arrived: Callable[[], bool], patience: float = 60) -> bool:
    deadline = time.monotonic() + patience
    while not arrived():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
