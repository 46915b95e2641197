"""Nodes that Slurm gives: one batch script, in which `launcher.batch` watches over the run, and one srun that starts
the node program on every node.

The nodes and the machine that submits share the run folder, the job's folder and this launcher.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher import address, elastic, shell
from launcher.backends.base import Command, Submission, Tell, code_folders, python_path, request
from launcher.cluster import survey
from launcher.cluster.admission import admit
from launcher.cluster.fitness import Words
from launcher.cluster.survey import Look, Route
from launcher.errors import EnvironmentUnfit, LauncherError, RequestError
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec, SlurmOptions
from launcher.store import RunFolder

SCRIPT = "slurm.sh"
PROGRAMS = ("sinfo", "sbatch", "squeue", "scancel", "scontrol")
"""What a machine that hands jobs in has to have of Slurm."""

WORDS = Words(
    python="--set slurm.python=PATH",
    interface="--set slurm.interface=NAME",
    share="--runs-dir DIR on a file system that all nodes share",
)

# One process of srun starts one node program on each node and hands all of them the lines of its standard input. The
# nodes say themselves how they ended, so srun ends none of them; `--export` undoes what the script's own keeps out.
SRUN = ("srun", "--export=ALL", "--ntasks-per-node=1", "--kill-on-bad-exit=0", "--wait=0")
PROBE = ("srun", "--export=ALL", "--overlap", "--nodes=1", "--ntasks=1", "--quiet")


LEASE_SECONDS = 8.0
"""A node without word from the batch step for so long ends the run's processes; a link down for 5 s is outlived."""
SILENCE = 8.0
"""Nor is a node without a sign of life waited for any longer: srun itself may wait for minutes."""
REAP_SECONDS = 4.0
"""For a look at a node that was lost: what runs there ends by itself, too, so it is not worth waiting for."""
OBITUARY = r"^srun: error: \S+: task (\d+): "


def settle(spec: JobSpec, _job_path: Path) -> JobSpec:
    """Refuses what cannot be decided where there are no nodes yet, and what sbatch would not understand."""
    elastic.refuse_a_range(
        spec, "a job of Slurm's has the nodes it asked for, and goes back into the queue when one is lost"
    )
    if spec.training.precision == "auto":
        raise RequestError(
            "training.precision: auto cannot be decided before Slurm has given the nodes",
            hint="--set training.precision=bf16, fp16 or fp32",
        )
    time = spec.slurm.time
    if time is not None and not re.fullmatch(r"\d+|\d+(:\d+){1,2}|\d+-\d+(:\d+){0,2}", time):
        raise RequestError(f"slurm.time: {time!r} is no time", hint="minutes, H:MM:SS or D-HH")
    for name, value in spec.slurm.options.items():
        if not re.fullmatch(r"[a-z][a-z-]*", name) or not value.isprintable():
            raise RequestError(f"slurm.options: {name}={value!r} is no option of sbatch", hint="man sbatch")
    return spec


def machine(spec: JobSpec) -> Machine:
    """What the least node of the partition offers. Raises EnvironmentUnfit where there is no Slurm."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise EnvironmentUnfit(f"{program}: Slurm's commands are not on this machine", hint="use a login node")
    partition = [f"--partition={spec.slurm.partition}"] if spec.slurm.partition else []
    said = shell.read(["sinfo", "--noheader", "--Node", "--format=%c %G", *partition])
    if said is None:
        raise EnvironmentUnfit("sinfo: Slurm does not answer", hint="`sinfo` says why")
    nodes = [line.split(maxsplit=1) for line in said.splitlines() if line.strip()]
    if not nodes:
        raise RequestError(f"slurm.partition: {spec.slurm.partition} has no nodes", hint="`sinfo` lists partitions")
    return Machine(
        cores=min(int(cores.rstrip("+")) for cores, _ in nodes), gpus=min(_gpus(resources) for _, resources in nodes)
    )


def render(plan: Plan) -> Submission:
    settings = plan.spec.slurm
    interface = settings.interface
    env = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface} if interface else {}
    command = Command(
        argv=(*SRUN, *_shares(plan), "env", *python_path(), _python(settings), "-P", "-m", "launcher.node"),
        request=request(plan, None, bind=_bind(settings), env=env, lease=LEASE_SECONDS),
        nodes=plan.nodes,
        silence=SILENCE,
        obituary=OBITUARY,
        pass_env=settings.pass_env,
    )
    return Submission(commands=(command,), files={SCRIPT: _script(plan)})


def prepare(plan: Plan, folder: RunFolder, tell: Tell) -> None:
    """Inside the allocation: look at all its nodes. Raises LauncherError when they do not fit together."""
    hosts = _hosts()
    if len(hosts) != plan.nodes:
        raise EnvironmentUnfit(f"the allocation has {len(hosts)} nodes, the plan {plan.nodes}", hint="launcher resume")
    routes = [_route(host) for host in hosts]
    admit(routes, _look(plan, hosts), shared=[folder.path], words=WORDS, tell=tell)


def collect(plan: Plan, _folder: RunFolder, lost: Sequence[str] | None, tell: Tell) -> None:
    """Inside the allocation: end what node programs that died have left on their nodes.

    What an earlier allocation left is ended by Slurm, and by `prepare`.
    """
    for host in sorted(set(lost or ())):
        try:
            survey.look([_route(host)], dataclasses.replace(_look(plan, [host]), seconds=REAP_SECONDS), meet=False)
        except LauncherError as error:
            tell({"event": "warning", "text": f"{error.message}; Slurm ends what ran there"})


def _hosts() -> list[str]:
    """The names of the allocation's nodes, in the order of their ranks."""
    named = shell.read(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")])
    return (named or "").split()


def _look(plan: Plan, hosts: Sequence[str]) -> Look:
    settings = plan.spec.slurm
    bind = [_bind(settings)] * len(hosts)
    return Look(
        seconds=plan.spec.look.seconds,
        python=shlex.quote(_python(settings)),
        bind=bind,
        folders=(plan.run_dir,),
        code=code_folders(plan),
        data=plan.spec.data,
        run=plan.run_id,
    )


def _script(plan: Plan) -> str:
    settings = plan.spec.slurm
    options = {
        "job-name": plan.run_id,
        "partition": settings.partition,
        "account": settings.account,
        "nodes": plan.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": _cpus(plan),
        "gpus-per-node": plan.procs_per_node if plan.device == "cuda" else None,
        "mem": settings.memory,
        "time": settings.time,
        "signal": f"B:USR1@{settings.save_before}",
        "open-mode": "append",
        "output": f"{plan.run_dir}/logs/slurm.log".replace("%", "%%"),
        "export": ",".join(settings.pass_env) or "NONE",
        **settings.options,
    }
    lines = [f"#SBATCH --{name}={_quoted(str(value))}" for name, value in options.items() if value is not None]
    words = ["env", *python_path(), _python(settings), "-P", "-m", "launcher.batch", plan.run_dir]
    return "\n".join(["#!/bin/sh", *lines, "#SBATCH --requeue", "", *settings.setup, f"exec {shlex.join(words)}", ""])


def _shares(plan: Plan) -> tuple[str, ...]:
    gpus = (f"--gpus-per-node={plan.procs_per_node}",) if plan.device == "cuda" else ()
    return (f"--nodes={plan.nodes}", f"--ntasks={plan.nodes}", f"--cpus-per-task={_cpus(plan)}", *gpus)


def _cpus(plan: Plan) -> int:
    return plan.spec.slurm.cpus or plan.threads * plan.procs_per_node


def _quoted(value: str) -> str:
    """As sbatch reads its comments: quotes keep spaces together."""
    return (
        value if re.fullmatch(r"[\w@%+=:,./-]*", value) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def _python(settings: SlurmOptions) -> str:
    return settings.python or sys.executable


def _bind(settings: SlurmOptions) -> str:
    return settings.interface or address.REACHED


def _route(host: str) -> Route:
    return Route(host=host, argv=(*PROBE, f"--nodelist={host}", "/bin/sh", "-c"), explain=_explain)


def _explain(host: str, code: int, said: str) -> LauncherError:
    last = said.splitlines()[-1] if said else "it said nothing"
    if "command not found" in said or "not found" in last:
        return EnvironmentUnfit(f"{host}: the Python is not there ({last})", hint=WORDS.python)
    return EnvironmentUnfit(f"{host}: no answer through srun (exit code {code}: {last})", hint=f"srun -w {host} true")


def _gpus(resources: str) -> int:
    """Of a node's generic resources, `gpu:a100:4(S:0-1),nvme:1`, how many GPUs."""
    counts = re.findall(r"gpu(?::[^:,(]+)?:(\d+)", resources)
    return sum(int(count) for count in counts)
