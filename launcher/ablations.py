"""The keys of a job file that change how quick a job is, with what to try for each; a table that reads the spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from launcher.plan import KEPT_MEMORY, Plan, flat

LEVERS: dict[str, tuple[Any, ...]] = {
    "training.precision": ("fp32", "bf16"),
    "training.numerics": ("exact", "fast"),
    "model.compile": (False, "default"),
    "model.channels_last": (False, True),
    "optimizer.fused": (False, True),
    "loader.workers": (0, 2),
    "loader.ahead": (False, True),
    "resources.freed_memory": ("return", "keep"),
    "local.threads": (1,),
    "parallel.bucket_mb": (25, 100),
    "parallel.static_graph": (False, True),
}
"""What is tried of each key, where this version's job files have it."""

OF_DDP = frozenset({"parallel.bucket_mb", "parallel.static_graph"})
NEEDS_A_GPU = frozenset({"loader.ahead", "model.channels_last"})
OWN = frozenset({"training.precision", "model.compile", "model.channels_last", "optimizer.fused"})
LEFT_ALONE = {"script": OWN | OF_DDP}
"""By kind: keys that its loop does not look at."""


class Trial(NamedTuple):
    """A key, what the job has for it, and another value, as `--set` takes it."""

    key: str
    now: str
    value: str


def trials(plan: Plan) -> Iterator[Trial]:
    """Every lever with each value that the job does not have already."""
    now = flat(dataclasses.asdict(plan.spec)) | {
        "training.precision": plan.precision,
        "local.threads": plan.threads,
        "resources.freed_memory": "keep" if KEPT_MEMORY.items() <= plan.env.items() else "return",
    }
    left_alone = LEFT_ALONE.get(plan.spec.task.kind, frozenset())
    if plan.world_size == 1 or plan.spec.parallel.strategy == "fsdp2":
        left_alone |= OF_DDP
    if plan.spec.training.accumulate > 1 or plan.spec.resources.least_nodes < plan.spec.resources.most_nodes:
        left_alone |= {"parallel.static_graph"}
    if plan.device == "cpu":
        left_alone |= NEEDS_A_GPU
    for key, values in LEVERS.items():
        if key in now and key not in left_alone:
            yield from (Trial(key, written(now[key]), written(value)) for value in values if value != now[key])


def written(value: Any) -> str:
    """As a job file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
