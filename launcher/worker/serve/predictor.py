"""A model as arrays in, arrays out: from a run, or from a file that `launcher export` wrote."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # nosec B403
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from launcher.errors import RequestError
from launcher.worker.trained import Trained

Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One array that the model takes; the first dimension is the batch."""

    name: str
    dtype: str
    """As numpy names it."""
    shape: tuple[int | None, ...]
    """Of one sample; None where any length fits."""

    def example(self, batch: int) -> np.ndarray[Any, Any]:
        return np.zeros((batch, *(size or 1 for size in self.shape)), dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    about: str
    inputs: tuple[Input, ...]
    compute: Callable[[Arrays], Arrays]
    """Outputs whose first dimension is the batch too. Not to be called by two threads at once."""
    real: Arrays | None = None
    """A real sample."""

    def example(self) -> Arrays:
        """One sample: a real one where there is one, else zeros."""
        return self.real or [each.example(1) for each in self.inputs]


def of_run(trained: Trained) -> Predictor:
    """Raises RequestError where the model is not called with tensors that share their first dimension."""
    leaves, form = pytree.tree_flatten((trained.args, dict(trained.kwargs)))
    if not leaves or not all(isinstance(leaf, torch.Tensor) and leaf.ndim for leaf in leaves):
        raise RequestError(f"{trained.run_id}: its model takes more than arrays of samples, so it cannot be served")
    inputs = tuple(
        Input(name=f"input_{place}" if place else "input", dtype=_numpy(leaf.dtype), shape=tuple(leaf.shape[1:]))
        for place, leaf in enumerate(leaves)
    )

    real = [leaf[:1].numpy() for leaf in leaves]

    def compute(arrays: Arrays) -> Arrays:
        args, kwargs = pytree.tree_unflatten([torch.from_numpy(array) for array in arrays], form)
        with torch.inference_mode():
            return _arrays(trained.module(*args, **kwargs))

    return Predictor(about=f"{trained.run_id} {trained.checkpoint}", inputs=inputs, compute=compute, real=real)


def of_file(path: Path) -> Predictor:
    """Raises RequestError for a file that holds no model that can be called."""
    opener = _OPENERS.get(path.suffix)
    if opener is None:
        served = ", ".join(_OPENERS)
        raise RequestError(
            f"{path}: a {path.suffix or 'file'} holds no model that can be called; these are served: {served}",
            hint="launcher export RUN --format onnx writes one; or serve the run itself",
        )
    try:
        return opener(path)
    except RequestError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, zipfile.BadZipFile, UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RequestError(f"{path}: not a {path.suffix} model ({first[:200]})") from error


def _onnx(path: Path) -> Predictor:
    if importlib.util.find_spec("onnxruntime") is None:
        raise RequestError("serving .onnx needs onnxruntime, which is not here", hint="pip install 'launcher[export]'")
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise ValueError(str(error)) from error
    inputs = tuple(
        Input(name=each.name, dtype=_ONNX_TYPES[each.type], shape=tuple(_sizes(each.shape[1:])))
        for each in session.get_inputs()
    )
    names = [each.name for each in inputs]

    def compute(arrays: Arrays) -> Arrays:
        found: Arrays = session.run(None, dict(zip(names, arrays, strict=True)))
        return found

    return Predictor(about=path.name, inputs=inputs, compute=compute)


def _program(path: Path) -> Predictor:
    program = torch.export.load(str(path))
    taken = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    names = [str(name) for name in program.graph_signature.user_inputs]
    inputs = tuple(
        Input(name=name, dtype=_numpy(value.dtype), shape=tuple(_sizes(value.shape[1:])))
        for name, value in zip(names, taken, strict=True)
    )
    module, form = program.module(), program.call_spec.in_spec

    def compute(arrays: Arrays) -> Arrays:
        args, kwargs = pytree.tree_unflatten([torch.from_numpy(array) for array in arrays], form)
        with torch.inference_mode():
            return _arrays(module(*args, **kwargs))

    return Predictor(about=path.name, inputs=inputs, compute=compute)


_OPENERS: dict[str, Callable[[Path], Predictor]] = {".onnx": _onnx, ".pt2": _program}
_ONNX_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
}


def _sizes(shape: Sequence[Any]) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in shape]


def _numpy(dtype: torch.dtype) -> str:
    try:
        return str(torch.empty(0, dtype=dtype).numpy().dtype)
    except TypeError:
        raise RequestError(f"the model takes {dtype}, which JSON cannot carry") from None


def _arrays(outputs: Any) -> Arrays:
    return [leaf.numpy(force=True) for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
