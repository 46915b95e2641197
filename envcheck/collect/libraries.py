"""What the dynamic loader and torch's compilers would find, without loading anything."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from envcheck.machine import Absent
from envcheck.sections.libraries import Libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envcheck.machine import Machine

BROUGHT_BY_WHEELS = re.compile(
    r"^lib(cudnn|cublas|cublasLt|cudart|cufft|cupti|curand|cusolver|cusparse|nccl|nvJitLink|nvrtc)[_a-z]*\.so\.\d+$"
)
SMALLEST_LIBCUDA = 1_000_000
"""Bytes: the real library has tens of millions, a stub a few tens of thousands."""


def collect(machine: Machine) -> Libraries:
    wheels = dict(_wheel_libraries(machine.search_path))
    folders = [one for one in machine.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    return Libraries(
        shadowing=tuple(_shadowing(folders, wheels)),
        preloaded=tuple(_preloaded(machine.environ.get("LD_PRELOAD", ""))),
        stub=_stub(folders),
        compiler=_which(machine, "gcc", "cc", "clang"),
        ldconfig=_which(machine, "ldconfig") or next((one for one in ("/sbin/ldconfig",) if Path(one).exists()), None),
        nvcc=_nvcc(machine),
    )


def _wheel_libraries(search_path: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name -> path of the libraries that the nvidia wheels and torch itself brought."""
    for entry in search_path:
        for folder in (*Path(entry).glob("nvidia/*/lib"), Path(entry) / "torch" / "lib"):
            for path in folder.glob("lib*.so.*"):
                yield path.name, str(path)


def _shadowing(folders: list[str], wheels: dict[str, str]) -> Iterator[str]:
    for folder in folders:
        if any(str(Path(folder)) == str(Path(path).parent) for path in wheels.values()):
            continue  # LD_LIBRARY_PATH names the wheels' own folder
        for name in sorted(path.name for path in Path(folder).glob("lib*.so.*")):
            if BROUGHT_BY_WHEELS.match(name) and name in wheels:
                yield f"{folder.rstrip('/')}/{name}"


def _preloaded(variable: str) -> Iterator[str]:
    for path in re.split(r"[:\s]+", variable):
        if re.match(r"lib(nccl|cudnn|cublas|cuda|cudart)\b", Path(path).name):
            yield path


def _stub(folders: list[str]) -> str | None:
    for folder in folders:
        path = Path(folder) / "libcuda.so.1"
        try:
            if path.stat().st_size < SMALLEST_LIBCUDA:
                return str(path)
        except OSError:
            continue
    return None


def _which(machine: Machine, *names: str) -> str | None:
    """The first of the names on PATH; shutil.which would do, but importing shutil costs a tenth of the static tier."""
    for name in names:
        for folder in machine.environ.get("PATH", "").split(":"):
            if folder and os.access(f"{folder}/{name}", os.X_OK):
                return f"{folder}/{name}"
    return None


def _nvcc(machine: Machine) -> str | None:
    try:
        said = machine.run([_which(machine, "nvcc") or "/usr/local/cuda/bin/nvcc", "--version"], 3).stdout
    except Absent:
        return None
    release = re.search(r"release (\d+\.\d+)", said)
    return release[1] if release else None
