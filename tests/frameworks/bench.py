"""Runs real ranks, of any kind of task, forked from one process that has imported every framework.

One start of that process serves all tests. It plays the agent: a store on loopback, torchrun's variables, and
`rank.main` in each fork; what comes of it is read from the run's folder. It also calls functions of the tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from launcher import checkpoints
from launcher.plan import Machine, Plan, make
from launcher.spec import Checkpointing, JobSpec, Resources, TaskSpec, Training
from launcher.store import RunFolder

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
TOLD = "told.jsonl"
"""In the run's folder: the events of rank 0."""


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


def lines(run_dir: Path) -> list[dict[str, Any]]:
    """The run's metrics."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def warnings(run_dir: Path) -> list[str]:
    """What the run was warned of, in all its attempts."""
    events = [json.loads(line) for line in (run_dir / TOLD).read_text().splitlines()]
    return [event["text"] for event in events if event["event"] == "warning"]


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
        """How each rank ended: its outcome, or `{"state": "killed"}`; KILL_AT is the step in which all do that."""
        folder = RunFolder(Path(plan.run_dir))
        folder.begin_attempt(plan)
        checkpoints.claim(folder.path, plan.attempt)
        self._ask({"plan": plan.to_json(), "environment": environment})
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

    def call(
        self, function: str, folder: Path, *, environment: Mapping[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any] | None:
        """What `module:function` returns for a folder, which gets its output: `{"error": …}` where it raises, None
        where it is killed."""
        result = folder / "result.json"
        result.unlink(missing_ok=True)
        self._ask(
            {"call": function, "arguments": {"folder": str(folder), **arguments}, "environment": environment or {}}
        )
        return json.loads(result.read_text()) if result.exists() else None

    def _ask(self, request: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        self.process.stdout.readline()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def _serve() -> None:
    import torch._dynamo  # noqa: F401  as the agent does
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    from launcher.worker import tasks

    for kind in tasks.MODULES:
        tasks.preload(kind)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "call" in request:
            children = [_fork(partial(_call, request["call"], request["arguments"]), request["environment"])]
        else:
            plan = Plan.from_json(request["plan"])
            store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
            children = [
                _fork(
                    partial(_rank, plan, number, os.getpid()),
                    _variables(plan, number, store.port) | request["environment"],
                )
                for number in range(plan.world_size)
            ]
        for pid in children:
            os.waitpid(pid, 0)
        print("ended", file=answers, flush=True)


def _fork(work: Callable[[], None], environment: Mapping[str, str]) -> int:
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        try:
            work()
        finally:
            os._exit(0)
    return pid


def _rank(plan: Plan, number: int, agent: int) -> None:
    from launcher.worker import rank
    from launcher.worker.duties import Duties

    begin_step = Duties.begin_step

    def begin_or_die(duties: Duties) -> int:
        if begin_step(duties) == int(os.environ["KILL_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return duties.state.step

    if number == 0:
        told = os.open(Path(plan.run_dir) / TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.environ["LAUNCHER_EVENTS_FD"] = str(told)
    if "KILL_AT" in os.environ:
        Duties.begin_step = begin_or_die  # type: ignore[method-assign]
    rank.main(plan, number, agent)


def _call(name: str, arguments: Mapping[str, Any]) -> None:
    folder = Path(arguments["folder"])
    with (folder / "log").open("a") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    module, _, function = name.partition(":")
    try:
        result = getattr(importlib.import_module(module), function)(**arguments)
    except Exception as error:
        traceback.print_exc()
        result = {"error": repr(error)}
    (folder / "result.json").write_text(json.dumps(result))


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
