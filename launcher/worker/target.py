"""Finds and calls the function that the job names: `path/to/file.py:function` or `package.module:function`."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from launcher.errors import JobFailed, RequestError
from launcher.spec import TaskSpec
from launcher.target import parse

FORM = "task.target is `path/to/file.py:function`, relative to the job file, or `package.module:function`"


def call(task: TaskSpec, job_dir: Path) -> Any:
    """What the target returns, given the job's arguments. An error of its own code comes through as it is.

    Raises RequestError where the target does not exist or does not take the arguments.
    """
    function = find(task.target, job_dir)
    _check_arguments(task, function)
    try:
        return function(**task.args)
    except SystemExit as error:
        raise JobFailed(
            f"task.target {task.target} called sys.exit({error.code!r}) instead of returning a Task",
            hint="end the function with `return Task(…)`, or raise an exception that says what is wrong",
        ) from error


def find(text: str, job_dir: Path) -> Callable[..., Any]:
    """The function of that name. The job file's folder and the current one can be imported from."""
    target = parse(text, job_dir)
    for folder in (str(Path.cwd()), str(job_dir.resolve())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if target.file is not None:
        return _function(text, _from_file(text, target.file), target.name)
    if target.module and target.name:
        return _function(text, _from_package(text, target.module), target.name)
    raise RequestError(f"task.target: {text!r} names no function", hint=FORM)


def _from_file(target: str, path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else FORM
        raise RequestError(f"task.target: {target}: there is no file {path}", hint=hint)
    spec = importlib.util.spec_from_file_location(f"target_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RequestError(f"task.target: {target}: {path} is not a Python file", hint=FORM)
    module = importlib.util.module_from_spec(spec)
    # Batches from loader processes are unpickled here: their classes are looked up by the module's name.
    sys.modules[spec.name] = module
    with _extras_named():
        spec.loader.exec_module(module)
    return module


def _from_package(target: str, name: str) -> ModuleType:
    try:
        with _extras_named():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module is there and lacks something itself
        raise RequestError(
            f"task.target: {target}: there is no module {error.name}",
            hint="modules are looked for beside the job file, in the current folder and among the installed packages",
        ) from None


@contextlib.contextmanager
def _extras_named() -> Iterator[None]:
    """Where the target imports a package that launcher has an extra for, and it is missing, say which."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS or importlib.util.find_spec(package) is not None:
            raise
        raise RequestError(
            f"the target imports {package}, which is not installed here",
            hint=f"pip install 'launcher[{EXTRAS[package]}]'",
        ) from error


def _function(target: str, module: ModuleType, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it defines {', '.join(sorted(names)) or 'no function'}"
    what = "is not a function" if function is not None else "is not defined there"
    raise RequestError(f"task.target: {target}: {name} {what}", hint=hint)


def _check_arguments(task: TaskSpec, function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have none
        return
    try:
        signature.bind(**task.args)
    except TypeError as error:
        raise RequestError(
            f"task.args: {task.target} cannot be called with them: {error}{_nearest(task.args, signature)}",
            hint=f"its signature is {task.target.rpartition(':')[2]}{signature}",
        ) from None


def _nearest(given: Mapping[str, Any], signature: inspect.Signature) -> str:
    for name in given:
        near = difflib.get_close_matches(name, signature.parameters, n=1)
        if name not in signature.parameters and near:
            return f"; did you mean {near[0]}?"
    return ""


def mistaken(task: TaskSpec, returned: Any) -> RequestError:
    """The target gave something else than its kind takes: what it is, and the kind that would take it."""
    what, parts = type(returned).__name__, [returned]
    if isinstance(returned, Mapping):
        what, parts = f"a dict with {', '.join(map(str, returned)) or 'nothing'}", list(returned.values())
    elif isinstance(returned, tuple):
        what, parts = f"a tuple of {', '.join(type(each).__name__ for each in returned) or 'nothing'}", list(returned)
    names = {base.__name__ for part in parts for base in type(part).__mro__}
    fits = next((kind for kind, name in RETURNS.items() if name in names and kind != task.kind), None)
    return RequestError(
        f"task.target {task.target} gave {what}; task.kind {task.kind} takes {TAKES[task.kind]}",
        hint=f"--set task.kind={fits} takes {TAKES[fits]}" if fits else f"end the target with {ENDS[task.kind]}",
    )


EXTRAS = {
    "lightning": "lightning",
    "pytorch_lightning": "lightning",
    "ignite": "ignite",
    "torchmetrics": "torchmetrics",
    "sklearn": "jobs",
}
"""By the name it is imported under, the extra that brings a package."""

RETURNS = {"native": "Task", "lightning": "LightningModule", "ignite": "Engine"}
"""The class that tells a kind."""
TAKES = {
    "native": "a Task",
    "lightning": "a LightningModule, alone, with a LightningDataModule, or in a dict of what Trainer and fit take",
    "ignite": "an Engine and its data, or a model, an optimizer, a loss and data, in a dict",
}
ENDS = {
    "native": "`return Task(model=…, optimizer=…, data=…, loss=…)`, from launcher import Task",
    "lightning": "`return module` or `return module, datamodule`",
    "ignite": "`return {'trainer': engine, 'data': …, 'to_save': {…}}`",
}
