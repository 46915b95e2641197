"""Variables left over from another job, an experiment or a search for a fault."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check, fine, warn

if TYPE_CHECKING:
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need

OF_A_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
SWITCHED_OFF = {
    "NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1", "NCCL_SHM_DISABLE": "1", "NCCL_NVLS_ENABLE": "0",
    "NCCL_NET_GDR_LEVEL": "0", "NCCL_P2P_LEVEL": "0", "NCCL_MAX_NCHANNELS": "1", "NCCL_NTHREADS": "64",
}  # fmt: skip
FOR_DEBUGGING = {
    "CUDA_LAUNCH_BLOCKING": "every kernel is waited for",
    "TORCH_DISTRIBUTED_DEBUG": "every collective is checked against all ranks first",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "every tensor is a cudaMalloc of its own",
    "NCCL_CHECK_POINTERS": "every pointer is looked up",
    "TORCH_CPP_LOG_LEVEL": "every call is logged",
    "NCCL_DEBUG": "every call is logged",
    "PYTHONDEVMODE": "the interpreter checks itself",
    "PYTHONMALLOC": "every allocation is checked",
    "TORCHDYNAMO_DISABLE": "nothing is compiled",
    "CUDA_COREDUMP_ENABLED": "gigabytes are written at a fault",
}
DEBUG_VALUES = {
    "TORCH_DISTRIBUTED_DEBUG": ("DETAIL",),
    "TORCH_CPP_LOG_LEVEL": ("INFO", "0"),
    "NCCL_DEBUG": ("TRACE",),
    "PYTHONMALLOC": ("debug", "malloc_debug"),
}
RENAMED = {
    "NCCL_BLOCKING_WAIT": "TORCH_NCCL_BLOCKING_WAIT",
    "NCCL_ASYNC_ERROR_HANDLING": "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "NCCL_DESYNC_DEBUG": "TORCH_NCCL_DESYNC_DEBUG",
    "NCCL_ENABLE_TIMING": "TORCH_NCCL_ENABLE_TIMING",
    "NCCL_MIN_NRINGS": "NCCL_MIN_NCHANNELS",
    "NCCL_MAX_NRINGS": "NCCL_MAX_NCHANNELS",
}
OFTEN_MISSPELT = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NCCL_SOCKET_IFNAME", "NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_IB_HCA",
    "NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_IB_GID_INDEX", "NCCL_IB_TIMEOUT", "GLOO_SOCKET_IFNAME",
    "OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE",
)  # fmt: skip
KNOWN = frozenset((*OFTEN_MISSPELT, "NCCL_IB_TC", "NCCL_IB_SL", "NCCL_SOCKET_FAMILY", "NCCL_DEBUG_FILE"))


@check("ENV001", remedy="unset {names}", severity=Status.WARN, modes=("F66",))
def no_rank_is_left_over(environment: Environment) -> Outcome:
    """RANK, WORLD_SIZE and their like are not set before a launcher has started.

    A script that finds them believes to be one of several, and waits at its first collective for peers that never come.
    """
    left = [name for name in OF_A_LAUNCHER if name in environment]
    if not left:
        return None
    saw = ", ".join(f"{name}={environment.get(name)}" for name in left)
    for owner, who in {"TORCHELASTIC_RUN_ID": "torchrun", "KUBERNETES_SERVICE_HOST": "an operator"}.items():
        if owner in environment:
            return fine(f"{saw}: set by {who}")
    return warn(saw, names=" ".join(left))


@check("ENV002", remedy="unset {names}", severity=Status.WARN, modes=("F66",))
def no_transport_is_switched_off(environment: Environment, need: Need) -> Outcome:
    """No way between GPUs is switched off by a variable that was set to look for a fault.

    The job runs, at a fraction of its speed. Where the switch is meant (a card without peer-to-peer), this is no fault.
    """
    left = [name for name, value in SWITCHED_OFF.items() if environment.get(name) == value]
    if not left or need.device == "cpu":
        return None
    return warn(", ".join(f"{name}={environment.get(name)}" for name in left), names=" ".join(left))


@check("ENV003", remedy="{remedy}", severity=Status.WARN, modes=("F66",))
def variables_are_spelt_as_they_are_read(environment: Environment) -> Outcome:
    """Variables bear the names that torch and NCCL read.

    A misspelt one is silently ignored; one that was renamed works until the old name is dropped.
    """
    for name in environment.variables:
        if name in RENAMED:
            return warn(f"{name} is now called {RENAMED[name]}", remedy=f"unset {name}; export {RENAMED[name]}=...")
        if name in KNOWN or name.startswith("TORCH_NCCL_"):
            continue
        meant = difflib.get_close_matches(name, OFTEN_MISSPELT, 1, 0.93)
        if meant and meant[0] not in environment and abs(len(meant[0]) - len(name)) < 3:
            return warn(f"nobody reads {name}; {meant[0]} may be meant", remedy=f"unset {name}; export {meant[0]}=...")
    return None


@check("ENV004", remedy="unset {names}", severity=Status.WARN, modes=("F96",))
def no_debugging_is_left_on(environment: Environment) -> Outcome:
    """No switch for debugging is left on.

    CUDA_LAUNCH_BLOCKING and its like make a run several times slower, and nothing in its output says why.
    """
    left = [name for name in FOR_DEBUGGING if _is_on(name, environment.get(name))]
    if not left:
        return None
    saw = "; ".join(f"{name}={environment.get(name)}: {FOR_DEBUGGING[name]}" for name in left)
    return warn(saw, names=" ".join(left))


def _is_on(name: str, value: str) -> bool:
    if name in DEBUG_VALUES:
        return value in DEBUG_VALUES[name]
    return value not in ("", "0", "false", "False")
