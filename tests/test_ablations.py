"""Which keys an ablation tries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from launcher import ablations
from launcher.levers import ParallelOptions
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, Loader, Resources, TaskSpec, Training


def plan(kind: str = "native", **sections: object) -> Plan:
    task = TaskSpec(target="a.py:build", kind=kind)  # type: ignore[arg-type]
    spec = JobSpec(name="job", task=task, training=Training(steps=1, batch_size=4), **sections)  # type: ignore[arg-type]
    return make(spec, run_id="r", run_dir=Path("/r"), job_dir=Path("/j"), machine=Machine(cores=4))


def tried(of: Plan) -> set[tuple[str, str]]:
    return {(trial.key, trial.value) for trial in ablations.trials(of)}


def test_a_lever_is_tried_with_what_the_job_does_not_have() -> None:
    assert {("loader.workers", "2"), ("training.precision", "bf16"), ("local.threads", "1")} <= tried(plan())
    assert ("loader.workers", "0") in tried(plan(loader=Loader(workers=2)))


def test_what_the_plan_chose_counts_as_what_the_job_has() -> None:
    assert ("resources.freed_memory", "return") in tried(plan())
    assert ("resources.freed_memory", "keep") in tried(plan(resources=Resources(freed_memory="return")))


def test_a_key_that_job_files_do_not_have_is_not_tried(monkeypatch) -> None:
    monkeypatch.setitem(ablations.LEVERS, "training.warp_drive", (True,))
    assert "training.warp_drive" not in {key for key, _ in tried(plan())}


def test_what_is_of_ddp_is_tried_with_ddp_only() -> None:
    two = Resources(procs_per_node=2)
    assert ("parallel.bucket_mb", "100") in tried(plan(resources=two))
    assert "parallel.bucket_mb" not in {key for key, _ in tried(plan())}
    assert "parallel.bucket_mb" not in {
        key for key, _ in tried(plan(resources=two, parallel=ParallelOptions(strategy="fsdp2")))
    }


def test_a_programs_own_precision_is_left_alone() -> None:
    assert "training.precision" not in {key for key, _ in tried(plan("script"))}


def test_a_static_graph_is_not_tried_with_several_microbatches() -> None:
    one = plan(resources=Resources(nodes=2))
    training = dataclasses.replace(one.spec.training, accumulate=2)
    two = dataclasses.replace(one, spec=dataclasses.replace(one.spec, training=training))
    assert tried(one) - tried(two) == {("parallel.static_graph", "true")}
