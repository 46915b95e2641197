"""Settings without which no two runs give the same bits."""

from __future__ import annotations

from envcheck.check import Status
from tests.envcheck.bench import Bench
from tests.envcheck.paper import h100_node
from tests.envcheck.proof import fake, natural

EXACT = ["--numerics", "exact"]


def exact_on_eight(bench: Bench) -> None:
    h100_node(bench)
    bench.wants(numerics="exact", procs_per_node=8)


def script(bench: Bench, text: str) -> None:
    bench.file("/job/train.py", text)
    bench.wants(numerics="exact", workdir=str(bench.root / "job"), script="train.py")


PROOFS = [
    natural(
        "DET001",
        "F91",
        "CUBLAS_WORKSPACE_CONFIG=:8:8",
        "':8:8', not one of",
        fault={"environ": {"CUBLAS_WORKSPACE_CONFIG": ":8:8"}, "options": EXACT},
        healthy={"environ": {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, "options": EXACT},
    ),
    natural(
        "DET001",
        "F91",
        "CUBLAS_WORKSPACE_CONFIG unset",
        "not set",
        fault={"environ": {"CUBLAS_WORKSPACE_CONFIG": ""}, "options": EXACT},
        healthy={"environ": {"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, "options": EXACT},
    ),
    natural(
        "DET002",
        "F92",
        "PYTHONHASHSEED=random",
        "orders its sets differently",
        fault={"environ": {"PYTHONHASHSEED": "random"}, "options": EXACT},
        healthy={"environ": {"PYTHONHASHSEED": "0"}, "options": EXACT},
    ),
    natural(
        "DET003",
        "F93",
        "NVIDIA_TF32_OVERRIDE=1",
        "NVIDIA_TF32_OVERRIDE=1",
        fault={"environ": {"NVIDIA_TF32_OVERRIDE": "1"}, "options": EXACT},
        healthy={"environ": {"NVIDIA_TF32_OVERRIDE": ""}, "options": EXACT},
    ),
    fake(
        "DET004",
        "F94",
        "a script that switches the benchmark on",
        "train.py:2",
        plant=lambda bench: script(bench, "import torch\ntorch.backends.cudnn.benchmark = True\n"),
        cure=lambda bench: script(bench, "import torch\n# torch.backends.cudnn.benchmark = True\n"),
        kind="N",
    ),
    fake(
        "DET004",
        "F94",
        "a benchmark that is on after the import",
        "right after `import torch`",
        base=lambda bench: bench.wants(numerics="exact"),
        plant=lambda bench: bench.change("torch", cudnn_benchmark=True),
        cure=lambda bench: bench.change("torch", cudnn_benchmark=False),
    ),
    fake(
        "DET005",
        "F95",
        "NCCL_ALGO unset for eight GPUs",
        "NCCL_ALGO is not set for 8",
        base=exact_on_eight,
        plant=lambda bench: None,
        cure=lambda bench: bench.environ.update(NCCL_ALGO="Ring"),
        status=Status.WARN,
        kind="N",
    ),
]
