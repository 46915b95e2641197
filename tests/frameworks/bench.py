"""Runs real ranks, of any kind of task, forked from one process that has imported every framework.

One start of that process serves all tests. It plays the agent: a store on loopback, torchrun's variables, and
`rank.main` in each fork; what comes of it is read from the run's folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import checkpoints
from launcher.plan import Machine, Plan, make
from launcher.spec import Checkpointing, JobSpec, Resources, TaskSpec, Training
from launcher.store import RunFolder

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent


def job(kind: str, target: str, *, args: Mapping[str, Any] | None = None, world: int = 1, **sections: Any) -> JobSpec:
    """A job of a target beside this file; `training` is given as a dict."""
    training = Training(**{"batch_size": 12, "log_every": 2, **sections.pop("training", {"steps": 8})})
    return JobSpec(
        name="test",
        task=TaskSpec(kind=kind, target=target, args=dict(args or {})),  # type: ignore[arg-type]
        resources=Resources(nodes=1, procs_per_node=world, device="cpu"),
        training=training,
        checkpoint=sections.pop("checkpoint", Checkpointing(every=3)),
        **sections,
    )


def plan_of(spec: JobSpec, run_dir: Path, *, attempt: int = 1, job_dir: Path = FOLDER) -> Plan:
    run_dir.mkdir(exist_ok=True)
    plan = make(spec, run_id="run", run_dir=run_dir, job_dir=job_dir, machine=Machine(cores=1), attempt=attempt)
    found = checkpoints.newest_verified(checkpoints.folder(run_dir))
    return dataclasses.replace(plan, resume_from=found[0] if found else None)


class Bench:
    """The process that forks ranks, and its client."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.frameworks.bench"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def train(self, plan: Plan, **environment: str) -> list[dict[str, Any]]:
        """How each rank ended: its outcome, or `{"state": "killed"}`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        folder = RunFolder(Path(plan.run_dir))
        folder.begin_attempt(plan)
        checkpoints.claim(folder.path, plan.attempt)
        print(json.dumps({"plan": plan.to_json(), "environment": environment}), file=self.process.stdin, flush=True)
        self.process.stdout.readline()
        outcomes = []
        for rank in range(plan.world_size):
            outcome: dict[str, Any] = {"state": "killed"}
            with contextlib.suppress(FileNotFoundError):
                outcome = json.loads(folder.rank_outcome(plan.attempt, rank).read_text())
            outcomes.append({**outcome, "log": folder.rank_log(plan.attempt, rank).read_text()})
        return outcomes

    def run(self, spec: JobSpec, run_dir: Path, *, attempt: int = 1, **environment: str) -> dict[str, Any]:
        """Train to the end; rank 0's outcome. A later attempt goes on from what the run's folder holds."""
        outcomes = self.train(plan_of(spec, run_dir, attempt=attempt), **environment)
        assert [each["state"] for each in outcomes] == ["done"] * len(outcomes), outcomes[0]["log"]
        return outcomes[0]

    def fail(self, spec: JobSpec, run_dir: Path, **environment: str) -> dict[str, Any]:
        """Train to its failure; the error of rank 0."""
        outcome = self.train(plan_of(spec, run_dir), **environment)[0]
        assert outcome["state"] == "failed", outcome
        error: dict[str, Any] = outcome["error"]
        return error

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def _serve() -> None:
    import torch._dynamo  # noqa: F401  as the agent does
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from launcher.worker import rank, tasks

    for kind in tasks.MODULES:
        tasks.preload(kind)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        plan = Plan.from_json(request["plan"])
        store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
        ranks = [
            _fork(rank.main, plan, number, {**_variables(plan, number, store.port), **request["environment"]})
            for number in range(plan.world_size)
        ]
        for pid in ranks:
            os.waitpid(pid, 0)
        print("ended", file=answers, flush=True)


def _fork(main: Any, plan: Plan, number: int, environment: Mapping[str, str]) -> int:
    agent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        try:
            main(plan, number, agent)
        finally:
            os._exit(0)
    return pid


def _variables(plan: Plan, number: int, port: int) -> dict[str, str]:
    """As torch's agent sets them."""
    return {
        **plan.env,
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(plan.world_size),
        "LOCAL_WORLD_SIZE": str(plan.procs_per_node),
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": plan.run_id,
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


if __name__ == "__main__":
    _serve()
