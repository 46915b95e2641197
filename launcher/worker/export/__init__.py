"""Writes a trained model in a form that needs none of its code, and holds it against the model itself."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from launcher import __version__
from launcher.errors import JobFailed, RequestError
from launcher.worker.digest import weights_sha256
from launcher.worker.export import formats
from launcher.worker.export.untraceable import explained, runnable
from launcher.worker.trained import Trained, batch_size

Run = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


@dataclass(frozen=True, kw_only=True)
class Exported:
    path: Path
    form: str
    max_difference: float
    """The largest absolute difference between an output of the two, over all samples and batch sizes."""
    batches: tuple[int, ...]
    """The batch sizes that were tried."""
    metadata: Mapping[str, str]


def export(
    trained: Trained, form: str, path: Path, *, tolerance: float, opset: int | None, warn: Callable[[str], None]
) -> Exported:
    """Write the model to `path`, whole and checked or not at all.

    Raises RequestError where the form's packages are missing, the model cannot be traced, or what came of it does not
    run here; JobFailed where the outputs differ by more than `tolerance`.
    """
    made = formats.named(form)
    metadata = _metadata(trained, form, opset)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explained(form, trained.module):
            made.write(trained, beside, metadata, opset, warn)
        with runnable(form, trained.module):
            batches, difference = _compared(trained, made.open(trained, beside))
        if not difference <= tolerance:
            raise _differs(form, difference, tolerance)
        beside.replace(path)
    except OSError as error:
        raise RequestError(
            f"{path} cannot be written ({error.strerror})", hint="--output FILE puts it elsewhere"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return Exported(path=path, form=form, max_difference=difference, batches=batches, metadata=metadata)


def _differs(form: str, difference: float, tolerance: float) -> JobFailed:
    if math.isinf(difference):
        return JobFailed(
            f"the {form} model gives outputs of another shape, or not finite, where the trained one does not;"
            " it was not written",
            hint="take --format torch-export, or safetensors, which holds the weights only",
        )
    return JobFailed(
        f"the {form} model differs from the trained one by {difference:.3g}, more than {tolerance:.3g};"
        " it was not written",
        hint="--tolerance sets another limit",
    )


def _metadata(trained: Trained, form: str, opset: int | None) -> dict[str, str]:
    about = {
        "launcher": __version__,
        "run_id": trained.run_id,
        "checkpoint": trained.checkpoint,
        "step": str(trained.step),
        "weights_sha256": weights_sha256(trained.module.state_dict()),
        "torch": torch.__version__,
    }
    if form == "onnx":
        about["opset"] = str(opset or formats.OPSET)
    return about | ({"model": trained.name} if trained.name else {})


def _compared(trained: Trained, run: Run) -> tuple[tuple[int, ...], float]:
    """The batch sizes tried, and the largest difference."""
    whole = batch_size(trained)
    sizes = tuple(dict.fromkeys((whole, max(1, whole // 2), 1))) if whole else ()
    worst = 0.0
    for size in sizes or (None,):
        args, kwargs = _cut((trained.args, dict(trained.kwargs)), whole, size)
        with torch.no_grad():
            ours = pytree.tree_leaves(trained.module(*args, **kwargs))
            theirs = pytree.tree_leaves(run(args, kwargs))
        worst = max([worst, *(_difference(*pair) for pair in zip(ours, theirs, strict=True))])
    return sizes, worst


def _cut(given: Any, whole: int | None, size: int | None) -> Any:
    """The call with the first `size` samples only."""
    if size is None or size == whole:
        return given
    return pytree.tree_map_only(torch.Tensor, lambda leaf: leaf[:size] if leaf.ndim else leaf, given)


def _difference(ours: Any, theirs: Any) -> float:
    one, two = (torch.as_tensor(each).double() for each in (ours, theirs))
    if one.shape != two.shape:
        return float("inf")
    same_nan = one.isnan() & two.isnan()
    apart = torch.where(same_nan | (one == two), 0.0, (one - two).abs())
    return float(apart.nan_to_num(nan=float("inf")).max()) if apart.numel() else 0.0
