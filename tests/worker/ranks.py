"""Runs the native task in processes of its own, as the agent does: forked from one that has imported torch."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import checkpoints
from launcher.plan import Machine, Plan, make
from launcher.spec import JobSpec, Resources, TaskSpec, Training

FOLDER = Path(__file__).parent
DEADLINE = 120.0

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["torch", "torch._dynamo", "torch.distributed", "launcher.worker.tasks.native"])


def job(target: str, *, args: Mapping[str, Any] | None = None, world: int = 1, **sections: Any) -> JobSpec:
    """A job of a target in targets.py; `training` is given as a dict."""
    training = Training(**{"batch_size": 12, "log_every": 2, **sections.pop("training")})
    return JobSpec(
        name="test",
        task=TaskSpec(target=f"targets.py:{target}", args=dict(args or {})),
        resources=Resources(nodes=world, procs_per_node=1, device="cpu"),
        training=training,
        **sections,
    )


def plan_of(spec: JobSpec, run_dir: Path, *, attempt: int = 1, resume_from: str | None = None) -> Plan:
    run_dir.mkdir(exist_ok=True)
    plan = make(spec, run_id="run", run_dir=run_dir, job_dir=FOLDER, machine=Machine(cores=1), attempt=attempt)
    return dataclasses.replace(plan, resume_from=resume_from)


def train(plan: Plan, environment: Mapping[str, str] | None = None, *, within: float = DEADLINE) -> list[Any]:
    """How each rank ended: its Outcome, its exception, or the number of the signal that killed it."""
    queue = forks.SimpleQueue()
    store = Path(plan.run_dir) / f"store-{plan.attempt}"
    ranks = [
        forks.Process(target=_rank, args=(plan, rank, str(store), dict(environment or {}), queue))
        for rank in range(plan.world_size)
    ]
    for each in ranks:
        each.start()
    endings: dict[int, Any] = {}
    deadline = time.monotonic() + within
    while any(each.is_alive() for each in ranks) or not queue.empty():
        if not queue.empty():
            rank, ending = queue.get()
            endings[rank] = ending
        if time.monotonic() > deadline:
            for each in ranks:
                each.kill()
            raise TimeoutError(f"the ranks did not end within {within:.0f} s; so far: {endings}")
        time.sleep(0.005)
    return [endings.get(rank, each.exitcode) for rank, each in enumerate(ranks)]


def resume(plan: Plan, environment: Mapping[str, str] | None = None) -> list[Any]:
    """A new attempt, from the newest verified checkpoint, which there must be."""
    found = checkpoints.newest_verified(checkpoints.folder(Path(plan.run_dir)))
    assert found is not None
    return train(dataclasses.replace(plan, attempt=plan.attempt + 1, resume_from=found[0]), environment)


def ended(endings: list[Any]) -> list[Any]:
    """The outcomes, if every rank has one."""
    from launcher.worker.context import Outcome

    assert all(isinstance(each, Outcome) for each in endings), endings
    return endings


def result(run_dir: Path) -> dict[str, bytes]:
    """Every byte that must not depend on how the run was disturbed."""
    newest = checkpoints.folder(run_dir) / checkpoints.names(checkpoints.folder(run_dir))[0]
    files = [path for path in newest.iterdir() if path.name != "manifest.json"]
    return {path.name: path.read_bytes() for path in [*files, run_dir / "metrics.jsonl"]}


def _rank(plan: Plan, rank: int, store: str, environment: Mapping[str, str], queue: Any) -> None:
    os.environ.update({"RUN_DIR": plan.run_dir, **environment})
    import torch.distributed as dist

    from launcher.worker.context import Context
    from launcher.worker.rank import _outcome
    from launcher.worker.tasks import native

    if "TEST_EVENTS" in os.environ:
        os.environ["LAUNCHER_EVENTS_FD"] = str(os.open(os.environ["TEST_EVENTS"], os.O_WRONLY | os.O_APPEND))
    try:
        context = Context.create(plan, rank=rank, local_rank=0, node_rank=rank)
        context.stop.install()
        if plan.world_size > 1:
            shared = dist.FileStore(store, plan.world_size)
            dist.init_process_group("gloo", store=shared, rank=rank, world_size=plan.world_size)
        ending: Any = _outcome(native, context)
        if plan.world_size > 1:
            dist.barrier()
    except BaseException as error:
        traceback.print_exc()
        ending = error
    queue.put((rank, ending))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
