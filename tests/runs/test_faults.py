"""Planted faults: the rank that failed first is named, with the exit code, the remedy, and nothing left behind."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import store
from launcher.store import RunFolder
from tests import long
from tests.runs.conftest import JOB, Bench, ended, saved, until

CAUSES = {
    "exception": ("user", "planted on one rank"),
    "exit": ("exit", "sys.exit(0) before training was done"),
    "kill": ("killed", "SIGKILL"),
    "segfault": ("killed", "SIGSEGV"),
    "memory": ("user", "Unable to allocate"),
    "nan": ("numerics", "step 4"),
}


@pytest.mark.parametrize("fault", long.but(["exception", "kill", "nan"], CAUSES))
def test_a_fault_on_rank_1_alone_is_named_as_the_cause(bench: Bench, fault: str) -> None:
    done = bench.run("--set", f"task.args.fault={fault}", "--nodes", "2", "--procs-per-node", "1")
    cause = bench.show()["root_cause"]
    kind, message = CAUSES[fault]
    assert done.exit_code == 1
    assert (cause["rank"], cause["node"], cause["kind"]) == (1, 1, kind)
    assert message in cause["message"] and message in done.stderr
    assert cause["log"] in done.stderr and f"launcher resume {bench.folder().name}" in done.stderr


def test_after_a_failure_the_resume_command_goes_on_from_the_last_checkpoint(bench: Bench) -> None:
    done = bench.run("--set", "task.args.fault=exception", "--set", "task.args.at=46", "--set", "retry.max=3")
    assert bench.show()["checkpoint"] >= "step-00000004" and "user failures are not tried again" in done.stderr
    resumed = bench.call("resume", "latest")
    assert resumed.exit_code == 0  # the fault counts calls, of which a resumed process makes fewer
    assert bench.show()["attempts"] == 2


def test_retries_go_on_by_themselves(bench: Bench) -> None:
    done = bench.run("--set", "task.args.fault=kill", "--set", "task.args.at=46", "--set", "retry.max=2")
    assert done.exit_code == 0
    assert bench.show()["attempts"] == 2
    agents = [event["pid"] for event in store.events(RunFolder(bench.folder())) if event["event"] == "started"]
    assert len(agents) == 2 and agents[0] == agents[1], "the node was not kept warm"


def test_a_fault_while_building_is_shown_with_the_users_own_lines(bench: Bench) -> None:
    done = bench.run("--set", "task.args.fault=build")
    assert done.exit_code == 1
    assert "planted in build" in done.stderr and "trial.py" in done.stderr
    assert "torch/distributed" not in done.stderr


def test_an_argument_the_target_does_not_take_is_a_wrong_request(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("def build(width: int = 1): ...\n")
    job = tmp_path / "job.yaml"
    job.write_text("name: t\ntask: {target: 'task.py:build', args: {widht: 2}}\ntraining: {steps: 1}\n")
    done = bench.call("run", str(job))
    assert done.exit_code == 2
    assert "did you mean width?" in done.stderr
    assert "Traceback" not in done.stdout and "launcher resume" not in done.stderr


@pytest.mark.parametrize("change", ["task.target=missing.py:build", "task.target=trial.py:biuld"])
def test_a_target_that_is_not_there_starts_nothing(bench: Bench, change: str) -> None:
    done = bench.run("--set", change)
    assert done.exit_code == 2
    assert not bench.runs_dir.exists()


def test_five_faults_of_a_job_file_are_told_at_once_and_start_nothing(bench: Bench, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "name: bad name\ntask: {target: nowhere}\ntraining:\n  stpes: 3\n  precision: bf17\nresources: {nodes: many}\n"
    )
    done = bench.call("run", str(job))
    assert done.exit_code == 2
    assert all(f"job.yaml:{line} " in done.stderr for line in (1, 2, 4, 5, 6)), done.stderr
    assert not bench.runs_dir.exists()


def test_a_runs_folder_that_cannot_be_written_is_unfit(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = bench.run("--runs-dir", str(tmp_path / "file" / "runs"))
    assert done.exit_code == 3
    assert "--runs-dir" in done.stderr


def test_a_batch_that_cannot_be_shared_out_is_refused_with_one_that_can(bench: Bench) -> None:
    done = bench.run("--set", "training.batch_size=13")
    assert done.exit_code == 2
    assert "training.batch_size=12" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for one of the checkpoints of a larger model, but not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None or _call(mount, "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)):
        pytest.skip("mounting a small file system needs root, and a system that allows it")
    yield disk
    _call("umount", "-l", str(disk))


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(small_disk: Path) -> None:
    bench = Bench(small_disk / "runs")
    done = bench.run("--set", "task.args.width=20000", "--set", "preflight=off")
    assert done.exit_code == 1
    assert bench.show()["root_cause"]["kind"] == "storage"
    assert "no space left" in done.stderr.lower() and "step-00000004" in bench.show()["checkpoint"]
    assert [path.name for path in (bench.folder() / "checkpoints").iterdir()] == ["step-00000004"]
    _call("mount", "-o", "remount,size=64m", str(small_disk))
    assert bench.call("resume", "latest").exit_code == 0


def _call(*argv: str) -> int:
    return subprocess.run(argv, capture_output=True).returncode


def test_a_kill_for_want_of_memory_is_told_from_other_kills(bench: Bench) -> None:
    """Really out of memory: a cgroup with less memory than the job takes."""
    cgroup = Path("/sys/fs/cgroup/memory") / f"launcher-test-{os.getpid()}"
    try:
        cgroup.mkdir()
        (cgroup / "memory.limit_in_bytes").write_text(str(700 << 20))
    except OSError as error:
        pytest.skip(f"a memory cgroup cannot be made here: {error}")
    try:
        options = ("task.args.fault=hog", "task.args.rank=0", "preflight=off")
        run = bench.start("run", str(JOB), *(word for option in options for word in ("--set", option)))
        (cgroup / "cgroup.procs").write_text(str(run.pid))  # before it starts another process
        done = ended(run)
    finally:
        cgroup.rmdir()
    assert done.exit_code == 1
    assert "want of memory" in done.stderr, done.stderr


def test_a_node_that_is_unfit_starts_no_training_and_says_what_to_type(bench: Bench) -> None:
    done = bench.run("--set", "env.TP_SOCKET_IFNAME=nosuch0")
    assert done.exit_code == 3
    assert "NET006" in done.stderr and "hint:" in done.stderr
    assert (bench.folder() / "nodes" / "0.json").exists()
    assert not (bench.folder() / "logs" / "attempt-1" / "rank-0.log").exists()


def test_an_unfit_node_may_be_trained_on_by_who_insists(bench: Bench) -> None:
    done = bench.run("--set", "env.TP_SOCKET_IFNAME=nosuch0", "--preflight", "warn")
    assert done.exit_code == 0, done.stderr
    assert "NET006" in done.stdout + done.stderr


HANGS = ("--set", "hang.seconds=4", "--nodes", "2", "--procs-per-node", "1")


def test_a_loader_that_sleeps_for_ever_is_found_by_a_roll_call(bench: Bench) -> None:
    done = bench.run(*HANGS, "--set", "task.args.fault=loader", "--set", "loader.workers=1")
    cause = bench.show()["root_cause"]
    assert (done.exit_code, cause["kind"], cause["class"], cause["rank"]) == (1, "hang", "hang", 1), done.stderr
    assert "rank 0 waits in the backward pass and its all-reduce" in cause["message"]
    assert "rank 1 is in DataLoader" in cause["message"]
    assert "_engine_run_backward" in (bench.folder() / "logs/attempt-1/rank-0.log").read_text()


def test_a_stopped_rank_is_left_behind_by_a_new_attempt(bench: Bench) -> None:
    run = bench.start(
        "run", str(JOB), *HANGS, "--set", "retry.max=1", "--set", "task.args.seconds=0.1", "--set", "training.steps=16"
    )
    assert until(saved(bench, 4))
    ready = [event for event in store.events(RunFolder(bench.folder())) if event["event"] == "ready"]
    os.kill(next(event["pid"] for event in ready if event["rank"] == 1), signal.SIGSTOP)
    done = ended(run)
    assert done.exit_code == 0, done.stderr
    (hang,) = [event for event in store.events(RunFolder(bench.folder())) if event["event"] == "hang"]
    assert "rank 1 is stopped, as by SIGSTOP" in hang["text"]
