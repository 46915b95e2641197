"""A child process that imports torch, uses it a little and prints the `torch` section as one line of JSON."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Callable, TypeVar

from envcheck.collect.records import altered
from envcheck.sections.torch import NOT_INSTALLED, Torch, TorchDevice

Answer = TypeVar("Answer")
ACCELERATOR_LIBRARY = re.compile(r"lib(cuda|cudart|cudnn|cublas|cublasLt|nvJitLink|nccl|nvidia-ml)\.so[^/]*$")


def main() -> int:
    print(json.dumps(dataclasses.asdict(collect())))
    return 0


def collect() -> Torch:
    """Look at torch in this process. Also for a process that has imported it already."""
    if importlib.util.find_spec("torch") is None:
        return Torch(failure=NOT_INSTALLED)
    started = time.monotonic()
    try:
        import torch
    except Exception as error:
        return Torch(failure=_last_line(error))
    seconds = round(time.monotonic() - started, 3)
    failures: dict[str, str | None] = {}

    def ask(name: str, question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except Exception as error:
            failures[name] = _last_line(error)
            return None

    available = bool(ask("cuda", torch.cuda.is_available))
    if torch.version.cuda is not None and not available:
        ask("cuda", torch.cuda.init)  # is_available swallows the reason
    cudnn = ask("cudnn", torch.backends.cudnn.version) if torch.version.cuda else None
    numpy = ask("numpy", _numpy_bridge)
    mapped = _mapped()
    devices = tuple(_device(name) for name in ["cpu"] + [f"cuda:{i}" for i in range(_count(available))])
    return Torch(
        version=torch.__version__,
        path=str(Path(torch.__file__).parent),
        cuda=torch.version.cuda,
        cuda_available=available,
        cuda_failure=failures.get("cuda"),
        cudnn=_cudnn_version(cudnn) if cudnn else None,
        cudnn_failure=failures.get("cudnn"),
        nccl=ask("nccl", _nccl) if torch.version.cuda else None,
        gloo=torch.distributed.is_available() and torch.distributed.is_gloo_available(),
        arch_list=tuple(ask("arch", torch.cuda.get_arch_list) or ()),
        devices=devices,
        mapped=mapped,
        altered=tuple(ask("altered", lambda: list(altered(_hashed(mapped)))) or ()),
        numpy=numpy,
        numpy_failure=failures.get("numpy"),
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        threads=torch.get_num_threads(),
        seconds=seconds,
    )


def _count(available: bool) -> int:
    import torch

    return torch.cuda.device_count() if available else 0


def _device(name: str) -> TorchDevice:
    """Multiply two fixed matrices on the device and compare with the float64 product of the CPU."""
    import torch

    model, capability = "", None
    try:
        if name != "cpu":
            properties = torch.cuda.get_device_properties(name)
            model, capability = properties.name, f"{properties.major}.{properties.minor}"
        size = 256
        left = torch.arange(size * size, dtype=torch.float64).remainder(17).sub(8).reshape(size, size)
        right = torch.arange(size * size, dtype=torch.float64).remainder(13).sub(6).reshape(size, size)
        exact = left @ right
        product = (left.float().to(name) @ right.float().to(name)).double().cpu()
        error = float((product - exact).abs().max() / exact.abs().max())
    except Exception as failure:
        return TorchDevice(name, model, capability, failure=_last_line(failure))
    return TorchDevice(name, model, capability, matmul_error=error)


def _numpy_bridge() -> str:
    """torch says `Numpy is not available` only when a tensor is turned into an array."""
    import torch

    array: Any = torch.arange(3.0).numpy()
    if torch.from_numpy(array + 1).sum().item() != 6.0:
        raise RuntimeError("a tensor came back from numpy with other values")
    return str(sys.modules["numpy"].__version__)


def _nccl() -> str:
    import torch

    return ".".join(str(part) for part in torch.cuda.nccl.version())  # type: ignore[no-untyped-call]


def _cudnn_version(number: int) -> str:
    """cuDNN 9 counts 90100 for 9.1.0, cuDNN 8 counted 8902 for 8.9.2."""
    major, rest = divmod(number, 10000) if number >= 90000 else divmod(number, 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _mapped() -> dict[str, list[str]]:
    """The accelerator libraries that are really in this process, whatever any metadata says."""
    found: dict[str, set[str]] = {}
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        path = line.partition("/")[2]
        name = ACCELERATOR_LIBRARY.search(path)
        if name:
            found.setdefault(f"lib{name[1]}", set()).add(f"/{path}")
    return {name: sorted(paths) for name, paths in sorted(found.items())}


def _hashed(mapped: dict[str, list[str]]) -> list[str]:
    """The two libraries that are overwritten in the wild; hashing all would take seconds."""
    return [*mapped.get("libnccl", []), *mapped.get("libcudnn", [])]


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}".rstrip(": ")


if __name__ == "__main__":
    sys.exit(main())
