"""Faults of the libraries that the loader finds, and of torch at work."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from envcheck.collect.records import altered
from envcheck.sections.torch import TorchDevice
from tests.envcheck.bench import Bench
from tests.envcheck.paper import cuda_torch, h100_node
from tests.envcheck.proof import fake, natural

WHEEL_NCCL = "/venv/lib/python3.11/site-packages/nvidia/nccl/lib/libnccl.so.2"
CUPY_NCCL = "/venv/lib/python3.11/site-packages/cupy/.data/lib/libnccl.so.2"


def working(bench: Bench) -> None:
    """A CUDA torch that works on one H100."""
    cuda_torch(bench)
    bench.change(
        "torch",
        version="2.13.0",
        cuda="13.0",
        cuda_available=True,
        cudnn="9.20.0",
        nccl="2.29.7",
        numpy="2.4.6",
        mapped={"libnccl": [WHEEL_NCCL], "libcuda": ["/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05"]},
        devices=(TorchDevice("cpu", matmul_error=0.0), TorchDevice("cuda:0", "H100", "9.0", matmul_error=3e-4)),
    )


def torch(**fields: object) -> Callable[[Bench], None]:
    return lambda bench: bench.change("torch", **fields)


def mapped_nccl(bench: Bench, content: str) -> None:
    """A mapped NCCL with this content, hashed for real, whose RECORD has the digest of `as installed`."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"as installed").digest()).rstrip(b"=").decode()
    bench.file("/site-packages/nvidia/nccl/lib/libnccl.so.2", content)
    bench.distribution("nvidia-nccl-cu13", "2.29.7", record=f"nvidia/nccl/lib/libnccl.so.2,sha256={digest},12\n")
    bench.change("torch", altered=tuple(altered([str(bench.site / "nvidia/nccl/lib/libnccl.so.2")])))


def library_path(bench: Bench, name: str, size: int = 1) -> None:
    cuda_torch(bench)
    bench.file(f"/opt/lib/{name}", "x" * size)
    bench.environ["LD_LIBRARY_PATH"] = str(bench.root / "opt/lib")


PROOFS = [
    fake(
        "LIB001",
        "F33",
        "a cuDNN in LD_LIBRARY_PATH",
        "libcudnn.so.9 comes before the wheel's own",
        plant=lambda bench: library_path(bench, "libcudnn.so.9"),
        cure=lambda bench: library_path(bench, "libother.so.9"),
        kind="N",
    ),
    fake(
        "LIB001",
        "F34",
        "an NCCL in LD_LIBRARY_PATH",
        "libnccl.so.2 comes before the wheel's own",
        plant=lambda bench: library_path(bench, "libnccl.so.2"),
        cure=lambda bench: library_path(bench, "libother.so.9"),
        kind="N",
    ),
    fake(
        "LIB002",
        "F33",
        "a cuDNN mapped from the toolkit's folder",
        "libcudnn is mapped from /usr/local/cuda/lib64/libcudnn.so.9",
        base=working,
        plant=torch(mapped={"libcudnn": ["/usr/local/cuda/lib64/libcudnn.so.9"]}),
    ),
    fake(
        "LIB030",
        "F37",
        "an NCCL with another digest than its RECORD's",
        "is not the file that nvidia_nccl_cu13-2.29.7 brought",
        base=working,
        plant=lambda bench: mapped_nccl(bench, "written over"),
        cure=lambda bench: mapped_nccl(bench, "as installed"),
        kind="N",
    ),
    fake(
        "LIB003",
        "F35",
        "an almost empty libcuda in LD_LIBRARY_PATH",
        "opt/lib/libcuda.so.1 is a stub",
        plant=lambda bench: library_path(bench, "libcuda.so.1", size=30_000),
        cure=lambda bench: library_path(bench, "libcuda.so.1", size=2_000_000),
    ),
    fake(
        "LIB004",
        "F36",
        "an NCCL that answers with an older version",
        "nvidia-nccl-cu13 is 2.29.7, the loaded library says 2.28.9",
        base=working,
        plant=torch(nccl="2.28.9"),
    ),
    fake(
        "LIB007",
        "F38",
        "LD_PRELOAD of an NCCL",
        "LD_PRELOAD loads /opt/nccl/libnccl.so.2",
        plant=lambda bench: bench.environ.update(LD_PRELOAD="/opt/nccl/libnccl.so.2"),
        cure=lambda bench: bench.environ.update(LD_PRELOAD="/usr/lib/libjemalloc.so.2"),
        kind="N",
    ),
    fake(
        "LIB026",
        "F38",
        "two NCCLs in one process",
        "libnccl is mapped 2 times",
        base=working,
        plant=torch(mapped={"libnccl": [WHEEL_NCCL, CUPY_NCCL]}),
    ),
    fake(
        "LIB012",
        "F43",
        "a bridge that says Numpy is not available",
        "Numpy is not available",
        base=working,
        plant=torch(numpy_failure="RuntimeError: Numpy is not available"),
    ),
    natural(
        "LIB014",
        "F45",
        "a PATH without compilers",
        "a C compiler",
        fault={"environ": {"PATH": "/nonexistent"}},
    ),
    fake(
        "LIB020",
        "F34",
        "an import that ends in an undefined symbol",
        "undefined symbol: __nvJitLinkComplete_12_4",
        base=working,
        plant=torch(failure="ImportError: undefined symbol: __nvJitLinkComplete_12_4"),
    ),
    fake(
        "LIB021",
        "F97",
        "a product with one wrong entry",
        "off by 0.25",
        base=working,
        plant=torch(devices=(TorchDevice("cuda:0", matmul_error=0.25),)),
    ),
    fake(
        "LIB021",
        "F97",
        "a product that is not a number",
        "off by nan",
        base=working,
        plant=torch(devices=(TorchDevice("cuda:0", matmul_error=float("nan")),)),
    ),
    fake(
        "LIB021",
        "F97",
        "a product that raises",
        "cuda:0: RuntimeError: CUDA error: uncorrectable ECC error",
        base=working,
        plant=torch(devices=(TorchDevice("cuda:0", failure="RuntimeError: CUDA error: uncorrectable ECC error"),)),
    ),
    fake(
        "LIB022",
        "F33",
        "a cuDNN older than its wheel",
        "nvidia-cudnn-cu13 is 9.20.0, the loaded library says 9.1.0",
        base=working,
        plant=torch(cudnn="9.1.0"),
    ),
    fake(
        "LIB022",
        "F33",
        "a cuDNN that cannot be loaded",
        "Could not load library",
        base=working,
        plant=torch(cudnn_failure="RuntimeError: Could not load library libcudnn_graph.so.9"),
    ),
    fake(
        "LIB027",
        "F04",
        "error 803 when CUDA starts",
        "Error 803",
        base=lambda bench: (h100_node(bench), working(bench)),
        plant=torch(cuda_available=False, cuda_failure="RuntimeError: Error 803: unsupported display driver"),
    ),
    fake(
        "LIB028",
        "F42",
        "an imported torch other than the installed one",
        "imported torch 2.9.1, installed 2.13.0",
        base=working,
        plant=torch(version="2.9.1", path="/home/me/.local/lib/python3.11/site-packages/torch"),
    ),
]
