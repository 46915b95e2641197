"""Determinism: settings without which two runs of one job cannot give the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fail, fine, warn

if TYPE_CHECKING:
    from envcheck.sections.gpus import Gpus
    from envcheck.sections.host import Environment
    from envcheck.sections.libraries import Job
    from envcheck.sections.need import Need
    from envcheck.sections.torch import Torch

WORKSPACES = (":4096:8", ":16:8")


@check("DET001", remedy="export CUBLAS_WORKSPACE_CONFIG=:4096:8  # before the process starts CUDA", modes=("F91",))
def cublas_workspace_is_fixed(environment: Environment, need: Need) -> Outcome:
    """CUBLAS_WORKSPACE_CONFIG holds one of the two values with which cuBLAS repeats itself.

    With several streams cuBLAS otherwise picks its workspace, and so its order of summation, anew in each run.
    """
    value = environment.get("CUBLAS_WORKSPACE_CONFIG")
    if value in WORKSPACES or (not value and (need.numerics != "exact" or need.device == "cpu")):
        return None
    saw = (
        f"CUBLAS_WORKSPACE_CONFIG is {value!r}, not one of {', '.join(WORKSPACES)}"
        if value
        else "CUBLAS_WORKSPACE_CONFIG is not set"
    )
    return fail(saw) if need.numerics == "exact" else warn(saw)


@check("DET002", remedy="export PYTHONHASHSEED=0", severity=Status.WARN, modes=("F92",))
def hash_seed_is_fixed(environment: Environment, need: Need) -> Outcome:
    """PYTHONHASHSEED is fixed for a job that claims exactness.

    Python salts the hash of text anew in each process, so the order of a set of names differs between ranks and runs.
    """
    value = environment.get("PYTHONHASHSEED", "random")
    if need.numerics == "exact" and not value.isdigit():
        return f"PYTHONHASHSEED is {value!r}: every process orders its sets differently"
    return None


@check("DET003", remedy="unset NVIDIA_TF32_OVERRIDE TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", modes=("F93",))
def nothing_overrides_tf32(environment: Environment, need: Need) -> Outcome:
    """No variable overrides the precision of float32 products behind the program's back.

    NVIDIA_TF32_OVERRIDE=0 slows a job that wants TF32, and TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 gives 10 bits of mantissa
    to one that wants 23; torch's own flags still show what the program asked for.
    """
    set_here = [name for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE") if environment.get(name)]
    if not set_here:
        return None
    saw = ", ".join(f"{name}={environment.get(name)}" for name in set_here)
    return fail(saw) if need.numerics == "exact" else warn(saw)


@check("DET004", remedy="set torch.backends.cudnn.benchmark = False in {place}", modes=("F94",))
def cudnn_does_not_choose_by_stopwatch(job: Job, need: Need, torch: Torch | None = None) -> Outcome:
    """cuDNN's benchmark is off for a job that claims exactness.

    It times several algorithms and takes the fastest of that moment, so two runs sum in different orders.
    """
    if need.numerics != "exact":
        return None
    if job.benchmark:
        return fail(f"{job.benchmark[0]} switches cudnn.benchmark on", place=job.benchmark[0])
    if torch and torch.cudnn_benchmark:
        return fail(
            "cudnn.benchmark is on right after `import torch`", place="sitecustomize or the .pth file that sets it"
        )
    return None


@check(
    "DET005",
    remedy="export NCCL_ALGO=Ring NCCL_PROTO=Simple",
    severity=Status.WARN,
    modes=("F95",),
)
def nccl_algorithm_is_fixed(environment: Environment, need: Need, gpus: Gpus | None = None) -> Outcome:
    """NCCL's algorithm is fixed for a job of several GPUs that claims exactness.

    NCCL tunes by message size and topology; ring and tree add in different orders.
    """
    if need.numerics != "exact" or need.device == "cpu" or need.world_size < 2:
        return None
    if gpus is not None and not gpus.devices:
        return fine("no NVIDIA GPU here: NCCL is not used")
    if environment.get("NCCL_ALGO"):
        return None
    return f"NCCL_ALGO is not set for {need.world_size} processes that must repeat their bits"
