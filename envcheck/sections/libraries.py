"""Installed distributions, and the shared libraries and tools that torch finds or misses."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Packages:
    """What the metadata of the installed distributions says; nothing is imported."""

    installed: dict[str, str] = field(default_factory=dict)
    """Name as indexes spell it -> version; of several, the one that Python finds first."""
    duplicates: dict[str, list[str]] = field(default_factory=dict)
    """Distributions of the training stack that are there twice -> `version in folder`."""
    torch: Optional[str] = None
    """`__version__` of the torch that would be imported, read from its version.py."""
    torch_cuda: Optional[str] = None
    torch_folder: Optional[str] = None
    requires_python: dict[str, str] = field(default_factory=dict)
    unmet: tuple[str, ...] = ()
    """Requirements of the training stack that the installed distributions do not meet, as sentences."""
    contested: tuple[str, ...] = ()
    """Files that two distributions claim: `nvidia/nccl/lib/libnccl.so.2: nvidia-nccl-cu12, nvidia-nccl-cu13`."""
    altered: tuple[str, ...] = ()
    """Libraries whose size is not the one of their distribution's RECORD."""


@dataclass(frozen=True)
class Libraries:
    """What the loader and the compilers would find."""

    shadowing: tuple[str, ...] = ()
    """Files in LD_LIBRARY_PATH that hide a library the wheels bring."""
    preloaded: tuple[str, ...] = ()
    """Accelerator libraries in LD_PRELOAD."""
    stub: Optional[str] = None
    """A libcuda that is only for linking, where the loader would take it."""
    compiler: Optional[str] = None
    ldconfig: Optional[str] = None
    nvcc: Optional[str] = None
    """Version of the CUDA compiler, where there is one."""


@dataclass(frozen=True)
class Job:
    """What the files of the job show before it starts."""

    missing: tuple[str, ...] = ()
    """Paths the job names that are not there, or cannot be read."""
    benchmark: tuple[str, ...] = ()
    """`file:line` where the script switches cuDNN's benchmark on."""


@dataclass(frozen=True)
class Expectation:
    """What `--expect` asks for: one variant of images/versions.toml."""

    variant: str
    versions: dict[str, str] = field(default_factory=dict)
    """torch, cuda, cudnn, nccl, triton, python."""
    driver: Optional[str] = None
    driver_complete: Optional[str] = None
    architectures: tuple[str, ...] = ()
    ptx: Optional[str] = None
    machines: tuple[str, ...] = ()
