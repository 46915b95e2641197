"""Faults of the installed distributions and of what lies under them."""

from __future__ import annotations

from envcheck.check import Status
from envcheck.sections.libraries import Expectation
from tests.envcheck.bench import Bench
from tests.envcheck.paper import cuda_torch, h100_node, wheel_library
from tests.envcheck.proof import fake, natural

CU130 = {"torch": "2.13.0", "cuda": "13.0.96", "nccl": "2.29.7", "cudnn": "9.20.0.48"}


def healthy_torch(bench: Bench) -> None:
    cuda_torch(bench)


def cpu_torch(bench: Bench) -> None:
    h100_node(bench)
    bench.file("/site-packages/torch/version.py", "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")


def two_torches(bench: Bench) -> None:
    user = bench.root / "user-site"
    bench.file("/user-site/torch-2.9.1.dist-info/METADATA", "Name: torch\n")
    bench.earlier = [str(user)]


def torchvision(bench: Bench, version: str, torch: str = "2.13.0") -> None:
    bench.distribution("torchvision", version, f"Requires-Dist: torch=={torch}\n")


def python_requirement(bench: Bench, version: str) -> None:
    bench.distribution("torch", "2.13.0", f"Requires-Python: >={version}\n")


def expected(bench: Bench, versions: dict[str, str]) -> None:
    bench.given["expectation"] = Expectation("images/cu130", versions)


PROOFS = [
    fake(
        "LIB005",
        "F37",
        "the cu12 and the cu13 wheel of NCCL together",
        "belongs to nvidia-nccl-cu12, nvidia-nccl-cu13",
        base=healthy_torch,
        plant=lambda bench: wheel_library(bench, "nvidia-nccl-cu12", "2.27.5", "nvidia/nccl/lib/libnccl.so.2", "other"),
        kind="N",
    ),
    fake(
        "LIB006",
        "F37",
        "a library written over after its installation",
        "nvidia-nccl-cu13 2.29.7 brought 4",
        base=healthy_torch,
        plant=lambda bench: bench.file("/site-packages/nvidia/nccl/lib/libnccl.so.2", "another one"),
        kind="N",
    ),
    fake(
        "LIB008",
        "F39",
        "a CPU wheel on a node of H100",
        "2.13.0+cpu has no CUDA",
        plant=cpu_torch,
        cure=lambda bench: (h100_node(bench), cuda_torch(bench)),
    ),
    natural(
        "LIB008",
        "F39",
        "this very CPU wheel wanted for GPUs",
        "has no CUDA, and this machine is wanted",
        fault={"options": ["--device", "cuda"]},
        healthy={"options": ["--device", "cpu"]},
    ),
    fake(
        "LIB009",
        "F40",
        "an NCCL other than torch's pin",
        "torch 2.13.0 wants nvidia-nccl-cu13==2.29.7, 2.30.4 is installed",
        plant=lambda bench: cuda_torch(bench, nccl="2.30.4"),
        cure=healthy_torch,
        kind="N",
    ),
    fake(
        "LIB010",
        "F41",
        "a torchvision that requires another torch",
        "torchvision 0.25.0 wants torch==2.10.0",
        base=healthy_torch,
        plant=lambda bench: torchvision(bench, "0.25.0", "2.10.0"),
        cure=lambda bench: torchvision(bench, "0.28.0"),
        kind="N",
    ),
    fake(
        "LIB010",
        "F41",
        "a torchvision of another minor version",
        "torchvision 0.26.0 is not the one of torch 2.13.0",
        base=healthy_torch,
        plant=lambda bench: bench.distribution("torchvision", "0.26.0"),
        cure=lambda bench: bench.distribution("torchvision", "0.28.1"),
        kind="N",
    ),
    fake(
        "LIB011",
        "F42",
        "a second torch in the user's site folder",
        "torch is there 2 times: 2.9.1 in",
        base=healthy_torch,
        plant=two_torches,
        kind="N",
    ),
    fake(
        "LIB016",
        "F48",
        "a torch that wants a later Python",
        "wants 3.99 or later",
        plant=lambda bench: python_requirement(bench, "3.99"),
        cure=lambda bench: python_requirement(bench, "3.9"),
        kind="N",
    ),
    natural(
        "LIB016",
        "F48",
        "VIRTUAL_ENV of another environment",
        "/opt/other active",
        fault={"environ": {"VIRTUAL_ENV": "/opt/other"}},
        healthy={"environ": {"VIRTUAL_ENV": ""}},
        status=Status.WARN,
    ),
    fake(
        "LIB023",
        "F99",
        "NCCL 2.28.9 on ARM",
        "nvidia-nccl-cu13 2.28.9 on aarch64",
        base=lambda bench: bench.change("host", architecture="aarch64"),
        plant=lambda bench: bench.distribution("nvidia-nccl-cu13", "2.28.9"),
        cure=lambda bench: bench.distribution("nvidia-nccl-cu13", "2.29.7"),
    ),
    fake(
        "LIB024",
        "F102",
        "a variant whose NCCL moved on",
        "images/cu130 has nccl 2.30.7, here it is 2.29.7",
        base=healthy_torch,
        plant=lambda bench: expected(bench, {**CU130, "nccl": "2.30.7"}),
        cure=lambda bench: expected(bench, CU130),
        kind="N",
    ),
    fake(
        "LIB025",
        "F48",
        "a Python without torch",
        "no torch on this interpreter's search path",
        plant=lambda bench: None,
        cure=healthy_torch,
        kind="N",
    ),
    fake(
        "LIB013",
        "F44",
        "an nvcc of another CUDA, which must not be a fault",
        "nvcc is 11.8, torch has CUDA 13.0",
        base=healthy_torch,
        plant=lambda bench: bench.answer(
            "/usr/local/cuda/bin/nvcc", "Cuda compilation tools, release 11.8, V11.8.89\n"
        ),
        cure=lambda bench: bench.answer("/usr/local/cuda/bin/nvcc", "Cuda compilation tools, release 13.0, V13.0.88\n"),
        status=Status.PASS,
    ),
    fake(
        "LIB015",
        "F47",
        "glibc 2.17",
        "glibc is 2.17",
        plant=lambda bench: bench.change("host", glibc="2.17"),
    ),
    fake(
        "LIB017",
        "F49",
        "a random.py beside the script",
        "random.py",
        base=lambda bench: bench.wants(workdir=str(bench.root / "job")),
        plant=lambda bench: bench.file("/job/random.py", ""),
        cure=lambda bench: bench.file("/job/randomness.py", ""),
        kind="N",
    ),
    natural(
        "LIB018",
        "F50",
        "LC_ALL=POSIX without UTF-8 mode",
        "the preferred encoding is",
        fault={"environ": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
        healthy={"environ": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"}},
    ),
    fake(
        "LIB019",
        "F51",
        "kernel 4.18",
        "the kernel is 4.18.0-553.el8",
        plant=lambda bench: bench.file("/proc/sys/kernel/osrelease", "4.18.0-553.el8"),
    ),
]
