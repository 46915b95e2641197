import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from launcher import plan
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.plan import Machine, Plan
from launcher.spec import Best, Checkpointing, EarlyStop, JobSpec, LocalOptions, Resources, TaskSpec, Training

LAPTOP = Machine(cores=8)
SERVER = Machine(cores=64, gpus=8, bf16=True)
OLD_SERVER = Machine(cores=64, gpus=8)


def job(*, backend: Any = "local", env: dict[str, str] | None = None, **sections: Any) -> JobSpec:
    resources = Resources(**sections.get("resources", {}))
    training = Training(**{"epochs": 1, "batch_size": 64, **sections.get("training", {})})
    local = LocalOptions(**sections.get("local", {}))
    return JobSpec(
        name="mlp", task=TaskSpec(target="a.py:f"), resources=resources, training=training, env=env or {},
        backend=backend, local=local,
    )  # fmt: skip


def made(spec: JobSpec, machine: Machine = LAPTOP, attempt: int = 1) -> Plan:
    return plan.make(spec, run_id="r", run_dir=Path("/runs/r"), job_dir=Path("/jobs"), machine=machine, attempt=attempt)


def test_on_a_laptop_everything_left_open_is_decided_for_the_cpu() -> None:
    decided = made(job())
    assert (decided.nodes, decided.procs_per_node, decided.device, decided.threads) == (1, 1, "cpu", 8)


@pytest.mark.parametrize(
    ("asked", "machine", "kept"),
    [("auto", LAPTOP, True), ("auto", SERVER, False), ("keep", SERVER, True), ("return", LAPTOP, False)],
)
def test_freed_memory_is_kept_on_the_cpu_or_as_asked_for(asked: Any, machine: Machine, kept: bool) -> None:
    decided = made(job(resources={"freed_memory": asked}), machine)
    assert ("MALLOC_TRIM_THRESHOLD_" in decided.env) == kept
    assert ("freed_memory" in decided.reasons) == (asked == "auto" and kept)


def test_on_a_server_there_is_a_process_for_each_gpu() -> None:
    decided = made(job(), SERVER)
    assert (decided.procs_per_node, decided.device, decided.world_size, decided.threads) == (8, "cuda", 8, 8)


def test_local_nodes_share_the_machine() -> None:
    decided = made(job(resources={"nodes": 2}), SERVER)
    assert (decided.procs_per_node, decided.world_size, decided.threads) == (4, 8, 8)


def test_nodes_elsewhere_do_not_share_one_machine() -> None:
    decided = made(job(resources={"nodes": 2}, backend="slurm"), SERVER)
    assert (decided.procs_per_node, decided.world_size, decided.threads) == (8, 16, 8)


def test_fewer_gpus_than_processes_leave_the_job_on_the_cpu() -> None:
    decided = made(job(resources={"procs_per_node": 16}), SERVER)
    assert decided.device == "cpu" and decided.reasons["device"] == "cpu: 8 GPUs for 16 processes"


def test_asking_for_gpus_that_are_not_there_is_unfit() -> None:
    with pytest.raises(EnvironmentUnfit, match="2 processes share this machine, which has 0 GPUs"):
        made(job(resources={"nodes": 2, "device": "cuda"}))


def test_asking_for_the_cpu_leaves_gpus_alone() -> None:
    decided = made(job(resources={"device": "cpu"}), SERVER)
    assert (decided.device, decided.procs_per_node) == ("cpu", 1)


@pytest.mark.parametrize(("machine", "precision"), [(LAPTOP, "fp32"), (SERVER, "bf16"), (OLD_SERVER, "fp16")])
def test_automatic_precision_follows_the_hardware(machine: Machine, precision: str) -> None:
    decided = made(job(training={"precision": "auto"}), machine)
    assert decided.precision == precision and decided.reasons["precision"].startswith(precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_precision_asked_for_is_kept_and_needs_no_reason(precision: str) -> None:
    decided = made(job(training={"precision": precision}))
    assert decided.precision == precision and "precision" not in decided.reasons


def test_a_process_always_has_a_thread() -> None:
    assert made(job(resources={"procs_per_node": 16})).threads == 1


def test_threads_asked_for_are_kept() -> None:
    decided = made(job(local={"threads": 3}))
    assert (decided.threads, decided.env["OMP_NUM_THREADS"]) == (3, "3")


def test_every_choice_made_for_the_user_has_its_reason() -> None:
    decided = made(job(training={"precision": "auto"}), SERVER)
    levers = {"channels_last", "fused", "pin", "ahead"}
    assert set(decided.reasons) == {"procs_per_node", "device", "threads", "precision"} | levers


def test_exact_numerics_set_what_determinism_needs() -> None:
    env = made(job(training={"seed": 2**32 + 7})).env
    assert env["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8" and env["PYTHONHASHSEED"] == "7"


def test_fast_numerics_leave_the_environment_alone() -> None:
    assert set(made(job(training={"numerics": "fast"}), SERVER).env) == {"OMP_NUM_THREADS"}


def test_the_job_has_the_last_word_on_its_environment() -> None:
    assert made(job(env={"OMP_NUM_THREADS": "9", "A": "b"})).env["OMP_NUM_THREADS"] == "9"


@pytest.mark.parametrize(("batch", "fits"), [(60, "64"), (1, "16"), (100, "96")])
def test_a_batch_that_cannot_be_shared_out_is_refused_with_one_that_can(batch: int, fits: str) -> None:
    spec = job(resources={"nodes": 4, "procs_per_node": 2}, training={"batch_size": batch, "accumulate": 2})
    with pytest.raises(RequestError, match="8 processes × 2 microbatches") as refused:
        made(spec)
    assert refused.value.hint == f"--set training.batch_size={fits} fits"
    made(dataclasses.replace(spec, training=dataclasses.replace(spec.training, batch_size=int(fits))))


def test_the_microbatch_is_what_one_process_sees_at_once() -> None:
    assert made(job(resources={"nodes": 2}, training={"accumulate": 4})).microbatch == 8


def test_a_plan_survives_json() -> None:
    spec = dataclasses.replace(
        job(training={"clip_norm": 1.0}, env={"A": "b"}),
        checkpoint=Checkpointing(every=5, best=Best(metric="loss")),
        early_stop=EarlyStop(metric="loss"),
    )
    decided = made(spec, SERVER, attempt=3)
    assert Plan.from_json(json.loads(json.dumps(decided.to_json()))) == decided


def test_a_plan_of_a_short_job_survives_json() -> None:
    decided = made(job())
    assert Plan.from_json(json.loads(json.dumps(decided.to_json()))) == decided


def test_planning_is_a_function_of_what_it_is_given() -> None:
    assert made(job(), SERVER) == made(job(), SERVER)


def test_the_settings_in_which_a_job_is_not_an_earlier_one_are_named() -> None:
    now = job(training={"seed": 2}, resources={"nodes": 2}, env={"A": "1"})
    assert plan.differences(made(job(training={"seed": 1})), now, Path("/jobs")) == [
        "resources.nodes was 1 and is 2",
        "training.seed was 1 and is 2",
        'env.A was null and is "1"',
    ]


def test_the_same_job_in_another_folder_is_another_job() -> None:
    assert plan.differences(made(job()), job(), Path("/copy")) == ['the job\'s folder was "/jobs" and is "/copy"']


def test_the_way_to_resume_makes_no_other_job() -> None:
    now = dataclasses.replace(job(), checkpoint=Checkpointing(resume="auto"))
    assert plan.differences(made(job()), now, Path("/jobs")) == []
