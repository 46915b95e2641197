"""What a child process found when it imported torch and used it a little."""

from dataclasses import dataclass, field
from typing import Optional

NOT_INSTALLED = "torch is not installed"


@dataclass(frozen=True)
class TorchDevice:
    """One device as torch sees it, and the outcome of a small matrix product on it."""

    name: str
    """`cpu`, `cuda:0`."""
    model: str = ""
    capability: Optional[str] = None
    matmul_error: Optional[float] = None
    """Largest deviation from the float64 product, relative to the largest entry."""
    failure: Optional[str] = None
    """The exception's last line where the product failed."""


@dataclass(frozen=True)
class Torch:
    """`failure` tells why torch could not be imported; everything else is then empty."""

    failure: Optional[str] = None
    version: Optional[str] = None
    path: Optional[str] = None
    cuda: Optional[str] = None
    """CUDA the wheel was built with; None for a CPU wheel."""
    cuda_available: bool = False
    cuda_failure: Optional[str] = None
    """Why CUDA could not be initialised though the wheel has it."""
    cudnn: Optional[str] = None
    cudnn_failure: Optional[str] = None
    nccl: Optional[str] = None
    """The version the loaded library itself tells."""
    gloo: bool = False
    arch_list: tuple[str, ...] = ()
    devices: tuple[TorchDevice, ...] = ()
    mapped: dict[str, list[str]] = field(default_factory=dict)
    """Accelerator libraries in the process's memory map: `libnccl` -> files."""
    altered: tuple[str, ...] = ()
    """Mapped NCCL and cuDNN files without the digest of any RECORD, as sentences."""
    numpy: Optional[str] = None
    numpy_failure: Optional[str] = None
    """Why a tensor could not become an array and return."""
    cudnn_benchmark: Optional[bool] = None
    deterministic: Optional[bool] = None
    threads: Optional[int] = None
    seconds: Optional[float] = None
    """Wall time of `import torch`."""
