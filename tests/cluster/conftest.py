import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from launcher import store
from launcher.spec import JobSpec, LookSpec, Resources, SshOptions, TaskSpec, Training
from launcher.store import RunRecord
from tests.cluster import lab as laboratory
from tests.cluster import slurm as scheduler
from tests.cluster.lab import NODES, Lab, until
from tests.cluster.slurm import Slurm

ROOT = Path(__file__).parents[2]
PATIENT = "look.seconds=60"
"""A loaded machine takes its time, and no test is about how long."""
HOSTS = f"ssh.hosts=[{','.join(NODES)}]"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several test processes, one has the laboratory with Slurm and one that without."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.path.parent == Path(__file__).parent:
            group = "slurm" if item.path.name in ("test_slurm.py", "test_exact.py") else "ssh"
            item.add_marker(pytest.mark.xdist_group(f"cluster-{group}"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two machines with sshd."""
    reason = laboratory.missing()
    if reason:
        pytest.skip(reason)
    made = Lab()
    yield made
    made.close()


@pytest.fixture(scope="session")
def torchless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This launcher, but its worker is the stand-in: it starts at once and computes nothing."""
    code = tmp_path_factory.mktemp("torchless")
    for package in ("launcher", "envcheck"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "worker"))
    worker = code / "launcher" / "worker"
    worker.mkdir()
    (worker / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "cluster" / "stub_worker.py", worker / "__main__.py")
    return code


class Run:
    """A `launcher run` on the lab's nodes, in a process of its own."""

    def __init__(self, folder: Path, code: Path, *settings: str, **given: Any) -> None:
        self.backend = "ssh"
        self.runs = given.get("runs") or folder / "runs"
        (folder / "target.py").write_text("def build(): ...\n")
        job = folder / "job.yaml"
        job.write_text("name: job\ntask: {target: 'target.py:build'}\ntraining: {steps: 4}\nresources: {nodes: 2}\n")
        self.environment = {**os.environ, "PYTHONPATH": str(code), **given.get("env", {})}
        words = [word for setting in ["preflight=off", PATIENT, *settings] for word in ("--set", setting)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "run", job, "--runs-dir", self.runs, *words, *given.get("options", [])],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, out, err

    @property
    def record(self) -> RunRecord:
        return store.list_runs(self.runs)[-1]

    def trains(self) -> bool:
        """Whether every rank has begun."""
        text = "".join(log.read_text() for log in self.runs.glob("*/logs/attempt-*/rank-*.log"))
        return "rank 0 step" in text and "rank 1 step" in text

    def events(self, kind: str) -> list[dict[str, Any]]:
        folder = store.RunFolder(Path(self.record.run_dir))
        return [event for event in store.events(folder) if event["event"] == kind]

    def launcher(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command about this run."""
        return subprocess.run(
            [sys.executable, "-m", "launcher", *words, self.record.run_id, "--runs-dir", self.runs],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)


@pytest.fixture
def start(lab: Lab, tmp_path: Path, torchless: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs without torch; whatever is left of them afterwards is ended."""
    runs: list[Run] = []

    def begin(*settings: str, **given: Any) -> Run:
        base = ("backend=ssh", HOSTS, f"ssh.config={lab.ssh_config}")
        runs.append(Run(tmp_path, torchless, *base, *settings, **given))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.wait()
    assert until(lambda: not left_on(lab), 30), left_on(lab)


@pytest.fixture
def training(start: Callable[..., Run]) -> Run:
    """A run that is under way on both nodes, and would be for minutes."""
    run = start("training.steps=4000")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    return run


@pytest.fixture(scope="session")
def slurm(lab: Lab) -> Iterator[Slurm]:
    """A real Slurm on the two machines."""
    reason = scheduler.missing()
    if reason:
        pytest.skip(reason)
    made = Slurm(lab)
    yield made
    made.close()


@pytest.fixture
def submit(slurm: Slurm, lab: Lab, tmp_path: Path, torchless: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs without torch on Slurm; whatever is left of them afterwards is ended."""
    runs: list[Run] = []

    def begin(*settings: str, **given: Any) -> Run:
        environment = {"SLURM_CONF": str(slurm.configuration), **given.pop("env", {})}
        runs.append(Run(tmp_path, torchless, "backend=slurm", *settings, env=environment, **given))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.wait()
    slurm.run("scancel", "--user=root")
    assert until(lambda: not left_on(lab) and slurm.run("squeue", "-h") == "", 60), left_on(lab)


def trained(job: Path, runs: Path, *settings: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The record of a job that real ranks have carried out on two nodes, one on each."""
    words = [word for setting in ("local.threads=1", PATIENT, *settings) for word in ("--set", setting)]
    shape = ("--nodes", "2", "--procs-per-node", "1", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "run", job, "--runs-dir", runs, *shape, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return last_record(done.stdout)


def job_on(lab: Lab, *hosts: str) -> JobSpec:
    return JobSpec(
        name="job",
        task=TaskSpec(target="target.py:build"),
        training=Training(steps=4),
        resources=Resources(nodes=2),
        backend="ssh",
        ssh=SshOptions(hosts=hosts, config=str(lab.ssh_config)),
        look=LookSpec(seconds=60),
    )


def left_on(lab: Lab, *nodes: str) -> list[str]:
    return [f"{node} {words}" for node in nodes or NODES for words in lab.processes(node)]


def last_record(out: str) -> dict[str, Any]:
    return dict(json.loads(out.splitlines()[-1]))
