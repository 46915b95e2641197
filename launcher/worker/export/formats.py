"""The forms in which a model can be written, each with what reads it back: one row a form."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.util
import inspect
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from launcher.errors import RequestError
from launcher.worker.trained import Trained, batch_size

OPSET = 18
"""Of ONNX, where the command does not say."""
METADATA = "launcher.json"
"""The name of the metadata inside torch's own archives."""

Run = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Form:
    suffix: str
    packages: tuple[str, ...]
    """What it needs beside torch, from the extra `export`."""
    write: Callable[[Trained, Path, Mapping[str, str], int | None, Warn], None]
    open: Callable[[Trained, Path], Run]


def named(form: str) -> Form:
    """Raises RequestError where a package is missing."""
    made = FORMS[form]
    missing = [package for package in made.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise RequestError(
            f"not installed here, and --format {form} needs it: {', '.join(missing)}",
            hint="pip install 'launcher[export]'",
        )
    return made


def _write_onnx(trained: Trained, path: Path, metadata: Mapping[str, str], opset: int | None, _warn: Warn) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of every package that it can do without
    called = _last_mapping_named(trained)
    with warnings.catch_warnings(), _unheard():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            called.module,
            called.args,
            kwargs=dict(called.kwargs),
            dynamo=True,
            dynamic_shapes=_dynamic(called),
            opset_version=opset or OPSET,
            verbose=False,
        )
    assert program is not None  # noqa: S101 (with dynamo=True there is one)
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def _open_onnx(_trained: Trained, path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        leaves = [leaf.numpy() for leaf in pytree.tree_leaves((args, dict(kwargs))) if isinstance(leaf, torch.Tensor)]
        return session.run(None, dict(zip(names, leaves, strict=True)))

    return run


def _write_program(trained: Trained, path: Path, metadata: Mapping[str, str], _opset: int | None, _warn: Warn) -> None:
    with _unheard():
        program = torch.export.export(
            trained.module, trained.args, dict(trained.kwargs), dynamic_shapes=_dynamic(trained), strict=False
        )
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})


def _open_program(_trained: Trained, path: Path) -> Run:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda args, kwargs: module(*args, **kwargs)


def _write_script(trained: Trained, path: Path, metadata: Mapping[str, str], _opset: int | None, warn: Warn) -> None:
    warn("TorchScript is deprecated by PyTorch and follows one path through the code; prefer torch-export or onnx")
    if trained.kwargs:
        raise RequestError(
            "TorchScript cannot hold a model that is called with keyword arguments",
            hint="call it with its arguments in order, or take --format torch-export",
        )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        traced = torch.jit.trace(trained.module, trained.args, check_trace=False)  # type: ignore[no-untyped-call]
        with path.open("wb") as file:
            torch.jit.save(traced, file, _extra_files={METADATA: json.dumps(metadata)})
    for each in heard:
        if each.category.__name__ == "TracerWarning":
            warn(str(each.message).partition(". ")[0])


def _open_script(_trained: Trained, path: Path) -> Run:
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return lambda args, kwargs: module(*args, **kwargs)


def _write_weights(trained: Trained, path: Path, metadata: Mapping[str, str], _opset: int | None, _warn: Warn) -> None:
    from safetensors.torch import save_model

    save_model(trained.module, str(path), metadata=dict(metadata))


def _open_weights(trained: Trained, path: Path) -> Run:
    """Into a copy of the model whose weights were wiped."""
    from safetensors.torch import load_model

    module = copy.deepcopy(trained.module)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.zero_()
    load_model(module, str(path))
    return lambda args, kwargs: module(*args, **kwargs)


def _unheard() -> contextlib.AbstractContextManager[Any]:
    """torch prints the whole graph of a model that it gives up; the refusal says which line it was."""
    return contextlib.redirect_stderr(io.StringIO())


def _last_mapping_named(trained: Trained) -> Trained:
    """The same call with a last argument that is a mapping given by name: the exporter takes it for keywords."""
    if trained.kwargs or not trained.args or not isinstance(trained.args[-1], dict):
        return trained
    *before, last = trained.args
    names = list(inspect.signature(trained.module.forward).parameters)
    return dataclasses.replace(trained, args=tuple(before), kwargs={names[len(before)]: last})


def _dynamic(trained: Trained) -> Any:
    """Says of each tensor that its first dimension is the batch, where all tensors share that."""
    whole = batch_size(trained)
    if whole is None or whole < 2:
        return None
    batch = torch.export.Dim("batch")

    def of(leaf: Any) -> Any:
        return {0: batch} if isinstance(leaf, torch.Tensor) and leaf.ndim else None

    shapes = pytree.tree_map(of, (trained.args, dict(trained.kwargs)))
    args, kwargs = shapes
    return {**_by_parameter(trained, args), **kwargs} if kwargs else args


def _by_parameter(trained: Trained, args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(inspect.signature(trained.module.forward).parameters, args, strict=False))


FORMS: dict[str, Form] = {
    "onnx": Form(suffix=".onnx", packages=("onnx", "onnxscript", "onnxruntime"), write=_write_onnx, open=_open_onnx),
    "torch-export": Form(suffix=".pt2", packages=(), write=_write_program, open=_open_program),
    "torchscript": Form(suffix=".pt", packages=(), write=_write_script, open=_open_script),
    "safetensors": Form(suffix=".safetensors", packages=("safetensors",), write=_write_weights, open=_open_weights),
}
