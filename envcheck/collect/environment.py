"""The environment variables that steer training, without those that may hold a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcheck.sections.host import Environment

if TYPE_CHECKING:
    from envcheck.machine import Machine

PREFIXES = (
    "ACCELERATE_", "CUBLAS", "CUDA", "CUDNN", "FI_", "GLOO_", "GOMP_", "GROUP_", "HF_", "IBV_", "KMP_", "LC_",
    "LD_", "LOCAL_", "MASTER_", "MKL_", "NCCL_", "NVIDIA_", "NVSHMEM_", "NVTE_", "OMPI_", "OMP_", "OPENBLAS_",
    "PMIX_", "PYTHON", "PYTORCH_", "RDMAV_", "ROLE_", "SLURM_", "TORCH", "TP_", "TRANSFORMERS_", "TRITON_",
    "UCX_", "VIRTUAL_ENV", "XDG_",
)  # fmt: skip
NAMES = {
    "CONDA_PREFIX", "HOME", "HOSTNAME", "KUBERNETES_SERVICE_HOST", "LANG", "LANGUAGE", "LNAME", "LOGNAME", "PATH",
    "RANK", "TMPDIR", "USER", "USERNAME", "WORLD_SIZE", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}  # fmt: skip
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|API_?KEY|AUTH", re.IGNORECASE)
USER_IN_URL = re.compile(r"(?<=://)[^/@]*@")


def collect(machine: Machine) -> Environment:
    kept = {
        name: USER_IN_URL.sub("", value)
        for name, value in machine.environ.items()
        if (name in NAMES or name.startswith(PREFIXES)) and not SECRET.search(name)
    }
    return Environment(dict(sorted(kept.items())))
