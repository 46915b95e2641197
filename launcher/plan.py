"""The plan: everything that will run, decided. Nothing is left to a default below this line, and each choice made for
the user carries its reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from launcher import choices, typed
from launcher.choices import Levers
from launcher.errors import EnvironmentUnfit, RequestError, counted
from launcher.section import Positive
from launcher.spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the plan needs to know of a node: its usable cores and GPUs."""

    cores: int
    gpus: int = 0
    bf16: bool = False
    """Whether its GPUs compute in bfloat16 (capability 8.0 or later)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One attempt at one run."""

    run_id: str
    attempt: Positive
    """Counts from 1; also the fencing number: only the newest attempt may commit a checkpoint."""
    run_dir: str
    job_dir: str
    """Folder of the job file; relative targets start here."""
    nodes: Positive
    procs_per_node: Positive
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16", "fp16"]
    threads: Positive
    """CPU threads of each worker."""
    spec: JobSpec
    levers: Levers = field(default_factory=Levers)
    """What makes steps quicker, decided."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables set for every worker, above the environment the node program was started in."""
    resume_from: str | None = None
    """Name of the verified checkpoint that the attempt starts from, if any."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a value was chosen where the job left the choice open: {"precision": "cpu trains in fp32"}."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.procs_per_node

    @property
    def sharded(self) -> bool:
        """Whether each process holds its part of the weights only."""
        return self.spec.parallel.strategy == "fsdp2" and self.world_size > 1

    @property
    def microbatch(self) -> int:
        """Samples one process sees at once in a full step."""
        return self.spec.training.batch_size // (self.world_size * self.spec.training.accumulate)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Raises ValueError, with the place, where a value is not what its field takes."""
        return typed.read(cls, data)


def make(spec: JobSpec, *, run_id: str, run_dir: Path, job_dir: Path, machine: Machine, attempt: int = 1) -> Plan:
    """Decide everything the job left open.

    Raises RequestError where the numbers do not fit together and EnvironmentUnfit where the machine lacks what the job
    asks for.
    """
    local_share = spec.resources.most_nodes if _on_one_machine(spec) else 1
    reasons: dict[str, str] = {}
    _tell_of_a_range(spec, reasons)
    procs = _procs_per_node(spec, machine, local_share, reasons)
    device = _device(spec, machine, procs * local_share, reasons)
    threads = _threads(spec, machine, procs * local_share, reasons)
    precision = _precision(spec, machine, device, reasons)
    plan = Plan(
        run_id=run_id,
        attempt=attempt,
        run_dir=str(run_dir),
        job_dir=str(job_dir),
        nodes=spec.resources.most_nodes,
        procs_per_node=procs,
        device=device,
        precision=precision,
        threads=threads,
        spec=spec,
        levers=choices.decide(spec, device=device, precision=precision, reasons=reasons),
        env={
            **_numerics_env(spec),
            **_memory_env(spec, device, reasons),
            "OMP_NUM_THREADS": str(threads),
            **spec.env,
        },
        reasons=reasons,
    )
    _check_batch(plan)
    return plan


def _on_one_machine(spec: JobSpec) -> bool:
    return spec.backend == "local" or (spec.backend == "docker" and not spec.ssh.hosts)


NOT_THE_JOB = frozenset({"checkpoint.resume", "ssh.hosts", "ssh.spare"})
"""Settings that may change from one attempt at a run to the next."""


def differences(earlier: Plan, spec: JobSpec, job_dir: Path) -> list[str]:
    """In which settings a job is not the one of an earlier plan, the way to resume aside; in words."""
    was = {**flat(dataclasses.asdict(earlier.spec)), "the job's folder": earlier.job_dir}
    # a run that lost nodes shares the same microbatches out among fewer
    was["training.accumulate"] = was["training.accumulate"] * earlier.nodes // earlier.spec.resources.most_nodes
    now = {**flat(dataclasses.asdict(spec)), "the job's folder": str(job_dir)}
    keys = [key for key in {**was, **now} if key not in NOT_THE_JOB and was.get(key) != now.get(key)]
    return [f"{key} was {json.dumps(was.get(key))} and is {json.dumps(now.get(key))}" for key in keys]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _tell_of_a_range(spec: JobSpec, reasons: dict[str, str]) -> None:
    if spec.task.kind == "script" and spec.resources.least_nodes < spec.resources.most_nodes:
        reasons["nodes"] = (
            f"{spec.resources.most_nodes}: with fewer of them a process gets several batches a step from script.steps;"
            " a program that does not train on all of them makes smaller steps"
        )


def _procs_per_node(spec: JobSpec, machine: Machine, local_share: int, reasons: dict[str, str]) -> int:
    asked = spec.resources.procs_per_node
    if asked != "auto":
        return asked
    gpus = machine.gpus // local_share
    if spec.resources.device == "cpu" or gpus == 0:
        reasons["procs_per_node"] = "1: one process a node on the cpu"
        return 1
    reasons["procs_per_node"] = f"{gpus}: one process for each of the node's GPUs"
    return gpus


def _device(spec: JobSpec, machine: Machine, local_procs: int, reasons: dict[str, str]) -> Literal["cpu", "cuda"]:
    asked = spec.resources.device
    if asked == "cuda" and machine.gpus < local_procs:
        raise EnvironmentUnfit(
            f"resources.device is cuda and {local_procs} processes share this machine, which has {machine.gpus} GPUs",
            hint="launcher envcheck says why GPUs are missing; --set resources.device=cpu runs without",
        )
    if asked != "auto":
        return asked
    share = f"{counted(machine.gpus, 'GPU')} for {counted(local_procs, 'process')}"
    if machine.gpus >= local_procs:
        reasons["device"] = f"cuda: {share}"
        return "cuda"
    reasons["device"] = f"cpu: {share}"
    return "cpu"


def _threads(spec: JobSpec, machine: Machine, local_procs: int, reasons: dict[str, str]) -> int:
    if spec.local.threads != "auto":
        return spec.local.threads
    threads = max(1, machine.cores // local_procs)
    reasons["threads"] = f"{threads}: {counted(machine.cores, 'core')} for {counted(local_procs, 'process')}"
    return threads


def _precision(
    spec: JobSpec, machine: Machine, device: str, reasons: dict[str, str]
) -> Literal["fp32", "bf16", "fp16"]:
    asked = spec.training.precision
    if asked != "auto":
        return asked
    if device == "cpu":
        reasons["precision"] = "fp32: the cpu gains nothing dependable from less"
        return "fp32"
    if machine.bf16:
        reasons["precision"] = "bf16: the GPUs compute in it, and it needs no loss scaling"
        return "bf16"
    reasons["precision"] = "fp16: the GPUs have no bf16; a GradScaler scales the loss"
    return "fp16"


# glibc's malloc: what is freed is not given back to the system, and blocks up to 32 MiB, the most it takes, are not
# asked of the system one by one. Only addresses change.
KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def _memory_env(spec: JobSpec, device: str, reasons: dict[str, str]) -> dict[str, str]:
    asked = spec.resources.freed_memory
    if asked == "auto" and device == "cpu":
        reasons["freed_memory"] = "keep: gradients that are freed and made again in every step cost page faults"
        return KEPT_MEMORY
    return KEPT_MEMORY if asked == "keep" else {}


def _numerics_env(spec: JobSpec) -> dict[str, str]:
    if spec.training.numerics == "fast":
        return {}
    return {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NCCL_ALGO": "Ring",
        "PYTHONHASHSEED": str(spec.training.seed % 2**32),
    }


def _check_batch(plan: Plan) -> None:
    batch, world, accumulate = plan.spec.training.batch_size, plan.world_size, plan.spec.training.accumulate
    if batch % (world * accumulate):
        parts = world * accumulate
        nearest = max(parts, round(batch / parts) * parts)
        raise RequestError(
            f"training.batch_size: {batch} samples cannot be shared out equally among {world} processes"
            f" × {accumulate} microbatches",
            hint=f"--set training.batch_size={nearest} fits",
        )
