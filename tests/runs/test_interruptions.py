"""However a run is ended, it goes on from where it was and ends with the bits of the run nothing happened to."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from launcher import ledger
from launcher.store import RunFolder
from tests import long
from tests.runs.conftest import JOB, ROOT, Bench, ended, saved, until

SLOW = ("--set", "task.args.seconds=0.05")


def begin(bench: Bench, *options: str, step: int = 8) -> subprocess.Popen[str]:
    """Start a run and let it come past a step."""
    run = bench.start("run", str(JOB), *SLOW, *options)
    assert until(saved(bench, step)), ended(run)
    return run


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except BlockingIOError:
        return b""


def members(bench: Bench, part: str) -> list[int]:
    return [int(line.split()[0]) for line in bench.left_behind() if part in line]


def ends_like(bench: Bench, undisturbed: Bench) -> None:
    """Resume, and compare the weights, the optimizer's state and the metrics with the undisturbed run's."""
    resumed = bench.call("resume", "latest")
    assert resumed.exit_code == 0, resumed.stderr
    assert bench.show()["weights_sha256"] == undisturbed.show()["weights_sha256"]
    last = Path("checkpoints", "step-00000024")
    for file in (last / "training.safetensors", Path("metrics.jsonl")):
        assert (bench.folder() / file).read_bytes() == (undisturbed.folder() / file).read_bytes(), file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_at_the_next_step_and_ends(bench: Bench, undisturbed: Bench, number: signal.Signals) -> None:
    run = begin(bench)
    run.send_signal(number)
    done = ended(run)
    shown = bench.show()
    assert (done.exit_code, shown["state"]) == (130, "STOPPED")
    assert shown["checkpoint"] == f"step-{shown['step']:08d}"
    assert f"launcher resume {shown['run_id']}" in done.stdout + done.stderr
    ends_like(bench, undisturbed)


def test_a_terminal_that_is_closed_saves_at_the_next_step_and_ends(bench: Bench, undisturbed: Bench) -> None:
    terminal, inside = pty.openpty()
    os.set_blocking(terminal, False)
    run = subprocess.Popen(
        [sys.executable, "-P", "-m", "launcher", "run", str(JOB), *SLOW],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAUNCHER_RUNS_DIR": str(bench.runs_dir), "TERM": "xterm"},
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(inside, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(inside)
    assert until(lambda: read(terminal) is not None and saved(bench, 8)())
    os.close(terminal)
    assert run.wait(60) == 130
    assert bench.show()["state"] == "STOPPED"
    ends_like(bench, undisturbed)


def test_stop_saves_and_ends_a_detached_run(bench: Bench, undisturbed: Bench) -> None:
    started = bench.run("--detach", *SLOW)
    assert started.exit_code == 0, started.stderr
    assert until(saved(bench, 4))
    assert bench.show()["state"] == "RUNNING"
    assert bench.call("stop", "latest").exit_code == 0
    assert bench.show()["state"] == "STOPPED"
    ends_like(bench, undisturbed)


def test_a_kill_of_everything_at_once_loses_no_saved_step(bench: Bench, undisturbed: Bench) -> None:
    run = begin(bench)
    for pid in (run.pid, *members(bench, "launcher")):
        os.kill(pid, signal.SIGKILL)
    ended(run)
    shown = bench.show()
    assert (shown["state"], shown["root_cause"]["kind"]) == ("FAILED", "launcher")
    ends_like(bench, undisturbed)


@pytest.mark.parametrize("victim", long.but(["launcher", "rank"], ["launcher", "launcher.node", "agent", "rank"]))
def test_whoever_is_killed_takes_everyone_along(bench: Bench, undisturbed: Bench, victim: str) -> None:
    run = begin(bench, "--nodes", "2", "--procs-per-node", "1")
    workers = sorted(members(bench, "launcher.worker"), key=_age)
    pid = {
        "launcher": [run.pid],
        "launcher.node": members(bench, "launcher.node"),
        "agent": workers,
        "rank": workers[::-1],
    }[victim][0]
    os.kill(pid, signal.SIGKILL)
    done = ended(run)
    assert until(lambda: not bench.left_behind(), 10), bench.left_behind()
    if victim != "launcher":
        assert done.exit_code == 1
        assert "SIGKILL" in bench.show()["root_cause"]["message"] or victim == "agent"
    ends_like(bench, undisturbed)


@pytest.mark.parametrize("strategy", long.but(["ddp"], ["ddp", "fsdp2"]))
def test_a_job_with_a_range_of_nodes_goes_on_without_the_one_that_is_lost(
    bench: Bench, undisturbed: Bench, strategy: str
) -> None:
    settings = ("--set", "retry.max=1", "--set", f"parallel.strategy={strategy}")
    run = begin(bench, "--nodes", "1..2", "--procs-per-node", "1", *settings)
    os.kill(max(members(bench, "launcher.node")), signal.SIGKILL)
    done = ended(run)
    record = bench.show()
    assert (record["state"], record["world_sizes"]) == ("SUCCEEDED", [2, 1]), done.stderr
    assert "the run goes on with 1 of 2 nodes" in done.stdout and "processes 2, then 1" in done.stdout
    orders = [ledger.read(RunFolder(each.folder()).ledger) for each in (bench, undisturbed)]
    assert len(orders[0].steps) == 24 and ledger.first_other_order(*orders) is None


def test_no_value_of_this_shells_variables_is_in_a_runs_folder(undisturbed: Bench) -> None:
    files = [path for path in undisturbed.folder().rglob("*") if path.is_file()]
    assert undisturbed.folder() / "nodes" / "0.json" in files, "envcheck, too, has looked"
    assert [path for path in files if undisturbed.environ["CANARY"].encode() in path.read_bytes()] == []


def test_a_stopped_rank_does_not_outlive_a_second_interrupt(bench: Bench) -> None:
    run = begin(bench, step=4)
    os.kill(max(members(bench, "launcher.worker"), key=_age), signal.SIGSTOP)
    run.send_signal(signal.SIGINT)
    assert until(lambda: (bench.folder() / "events.jsonl").read_text().count("stopping"))
    run.send_signal(signal.SIGINT)
    assert ended(run, 30).exit_code == 130


def test_a_damaged_newest_checkpoint_is_set_aside_and_named(bench: Bench, undisturbed: Bench) -> None:
    run = begin(bench)
    run.send_signal(signal.SIGKILL)
    ended(run)
    assert until(lambda: not bench.left_behind(), 10)
    newest = max((bench.folder() / "checkpoints").glob("step-*"))
    weights = newest / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    resumed = bench.call("resume", "latest")
    assert resumed.exit_code == 0, resumed.stderr
    assert newest.name in resumed.stdout + resumed.stderr and "model.safetensors" in resumed.stdout + resumed.stderr
    assert bench.show()["weights_sha256"] == undisturbed.show()["weights_sha256"]


def test_a_second_launcher_is_refused_while_a_run_is_watched(bench: Bench) -> None:
    run = begin(bench, step=4)
    refused = bench.call("resume", "latest")
    run.terminate()
    ended(run)
    assert refused.exit_code == 2
    assert "already watched" in refused.stderr


def test_a_run_that_is_done_is_not_resumed(undisturbed: Bench) -> None:
    refused = undisturbed.call("resume", "latest")
    assert refused.exit_code == 2
    assert "already done" in refused.stderr


def test_run_with_resume_auto_goes_on_with_the_newest_unfinished_run_of_the_job(
    bench: Bench, undisturbed: Bench
) -> None:
    run = begin(bench)
    run.terminate()
    ended(run)
    refused = bench.run(*SLOW, "--resume", "latest", "--set", "training.seed=9")
    assert refused.exit_code == 2 and "training.seed was 3 and is 9" in refused.stderr
    assert bench.run(*SLOW, "--resume", "auto").exit_code == 0
    assert len(list(bench.runs_dir.iterdir())) == 1
    assert bench.show()["weights_sha256"] == undisturbed.show()["weights_sha256"]


def _age(pid: int) -> int:
    """When a process began: an agent before the rank it forked."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
