"""The slurm backend on a real Slurm with two nodes; the worker is a stand-in, since only jobs and processes matter."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import plan
from launcher.backends import base, slurm_queue
from launcher.backends import slurm as backend
from launcher.errors import LauncherError
from launcher.plan import Machine
from launcher.spec import JobSpec, Resources, SlurmOptions, TaskSpec, Training
from tests.cluster.conftest import Run, left_on
from tests.cluster.lab import Lab, until
from tests.cluster.slurm import Slurm

Submit = Callable[..., Run]
GOLDEN = Path(__file__).parent / "golden" / "slurm.sh"


@pytest.fixture
def running(submit: Submit) -> Run:
    """A run that is under way on both nodes, and would be for minutes."""
    run = submit("training.steps=4000")
    assert until(run.trains, 60), run.process.poll() is not None and run.wait()
    return run


def job(run: Run) -> str:
    return str(run.events("submitted")[-1]["job"])


def spec(**options: object) -> JobSpec:
    return JobSpec(
        name="gpt",
        task=TaskSpec(target="t.py:f"),
        training=Training(steps=1, batch_size=64),
        resources=Resources(nodes=2, procs_per_node=4, device="cuda"),
        backend="slurm",
        slurm=SlurmOptions(**options),  # type: ignore[arg-type]
    )


def test_the_batch_script_is_readable_and_holds_nothing_but_what_was_asked_for() -> None:
    asked = spec(
        partition="gpu",
        account="research",
        time="8:00:00",
        memory="200G",
        options={"constraint": "a100&ib", "comment": "to be read"},
        setup=("module load cuda/12.8",),
        python="/opt/venv/bin/python",
        pass_env=("WANDB_API_KEY",),
    )
    decided = plan.make(
        asked,
        run_id="gpt-20261121T120000-ab12",
        run_dir=Path("/scratch/my runs/gpt-20261121T120000-ab12"),
        job_dir=Path("/home/me"),
        machine=Machine(cores=32, gpus=4),
    )
    text = backend.render(decided).files["slurm.sh"].replace(str(base.HOME), "/home/me/launcher")
    if os.environ.get("UPDATE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "UPDATE_GOLDEN=1 renews it"


def test_a_run_is_handed_in_followed_and_ends_with_its_verdict(submit: Submit, lab: Lab) -> None:
    run = submit()
    code, out, err = run.wait()
    assert (code, run.record.state) == (0, "SUCCEEDED"), err
    assert "rank 0 step 4" in out
    assert left_on(lab) == []


def test_a_stop_saves_and_the_job_does_not_come_back(running: Run, slurm: Slurm, lab: Lab) -> None:
    done = running.launcher("stop")
    assert running.record.state == "STOPPED" and running.record.step > 0, done.stderr
    assert running.wait()[0] == 130
    assert (slurm.state(job(running)), left_on(lab)) == ("", [])


def test_scancel_ends_the_run_and_the_job_does_not_come_back(running: Run, slurm: Slurm, lab: Lab) -> None:
    slurm.run("scancel", job(running))
    assert running.wait()[0] == 130
    assert running.record.state == "STOPPED" and running.events("requeued") == []
    assert (slurm.state(job(running)), left_on(lab)) == ("", [])


def test_a_job_that_makes_room_goes_back_into_the_queue_and_resumes(running: Run, slurm: Slurm) -> None:
    urgent = ["sbatch", "--partition=high", "--nodes=2", "--exclusive", "--wait", "--wrap=true", "--output=/dev/null"]
    subprocess.run(urgent, env=slurm.environment, check=True, capture_output=True, timeout=90)
    assert until(lambda: running.record.attempts == 2 and running.record.state == "RUNNING", 60), running.record
    assert [event["reason"] for event in running.events("requeued")] == ["Slurm needs the nodes"]
    assert running.process.poll() is None


def test_a_run_that_waits_is_queued_and_a_stop_takes_it_out(submit: Submit, slurm: Slurm) -> None:
    run = submit("slurm.options={begin: now+1hour}", options=["--detach"])
    assert run.wait()[0] == 0 and run.record.state == "QUEUED"
    run.launcher("stop")
    assert (run.record.state, slurm.state(job(run))) == ("STOPPED", "")


def test_a_run_in_the_queue_is_not_handed_in_twice(submit: Submit) -> None:
    run = submit("slurm.options={begin: now+1hour}", options=["--detach"])
    run.wait()
    done = run.launcher("resume")
    assert done.returncode == 2 and "still QUEUED" in done.stderr


def test_only_variables_that_are_named_travel(submit: Submit, lab: Lab) -> None:
    env = {"CANARY": "tweet-7261", "TOKEN": "secret-5523"}
    run = submit("slurm.pass_env=[TOKEN]", "task.args.show=[TOKEN, CANARY]", "training.steps=4000", env=env)
    assert until(run.trains, 60)
    programs = left_on(lab)
    environments = b"".join(Path(f"/proc/{line.split()[1][:-1]}/environ").read_bytes() for line in programs)
    run.launcher("stop")
    for log in run.runs.glob("*/logs/attempt-1/rank-*.log"):
        assert log.read_text().startswith("TOKEN=secret-5523\nCANARY=None\n")
        log.unlink()
    written = b"".join(path.read_bytes() for path in run.runs.rglob("*") if path.is_file())
    assert b"tweet-7261" not in environments + written and b"secret-5523" not in written


def test_how_a_job_ended_that_the_controller_has_forgotten_is_asked_of_the_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, monkeypatch, scontrol="exit 1", sacct="echo 'CANCELLED by 0'")
    assert slurm_queue.last_word("7") == "CANCELLED"


def test_a_partition_that_is_not_there_is_refused(submit: Submit) -> None:
    run = submit("slurm.partition=nowhere")
    code, _, err = run.wait()
    assert code == 2 and "slurm.partition: nowhere has no nodes" in err and not run.runs.exists()


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("missing", backend.PROGRAMS)
def test_a_machine_without_one_of_slurms_commands_is_refused_before_anything_is_written(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {name: "echo '2 (null)'" for name in backend.PROGRAMS if name != missing}
    put_on_path(tmp_path, monkeypatch, **there)
    with pytest.raises(LauncherError, match=f"{missing}: Slurm's commands are not on this machine") as refusal:
        backend.machine(spec())
    assert (refusal.value.exit_code, refusal.value.hint) == (3, "use a login node")


@pytest.mark.parametrize(
    ("complaint", "state"), [("Invalid job id specified", None), ("Unable to contact slurm controller", "UNKNOWN")]
)
def test_a_controller_that_does_not_answer_is_told_from_a_job_that_is_over(
    complaint: str, state: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(tmp_path, monkeypatch, squeue=f"echo 'slurm_load_jobs error: {complaint}' >&2; exit 1")
    assert slurm_queue.state("7") == state


@pytest.mark.parametrize("wrong", [{"time": "soon"}, {"options": {"--wrap": "x"}}, {"options": {"comment": "a\nb"}}])
def test_settings_that_sbatch_would_not_understand_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(LauncherError) as refusal:
        backend.settle(spec(**wrong), Path("job.yaml"))
    assert refusal.value.exit_code == 2 and refusal.value.hint
