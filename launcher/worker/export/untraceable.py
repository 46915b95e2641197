"""What an exporter says of a model it cannot trace, in one sentence with the line of the user's code."""

from __future__ import annotations

import contextlib
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from launcher.errors import LauncherError, RequestError

OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), sysconfig.get_path("stdlib"))
"""Frames of torch, launcher and Python are not the user's."""

MEANINGS = (
    (r"data-dependent|GuardOnDataDependent|Could not extract|item\(\)", "its way depends on the values it is given"),
    (r"constraint|specialized|ConstraintViolation", "it works for one batch size only"),
    (
        r"unsupported|No ONNX function|does not support|not supported",
        "an operation is not among the form's",
    ),
    (r"cannot be traced|cannot infer type|Unsupported type|JitTypes", "it takes or gives what is no tensor"),
)


@contextlib.contextmanager
def explained(form: str, module: nn.Module) -> Iterator[None]:
    """Raises RequestError for what an exporter refuses. Errors of the disk and launcher's own go through."""
    try:
        yield
    except (LauncherError, OSError):
        raise
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        where = _where(text, error)
        rewrite = "rewrite that line with tensor operations, or " if where else ""
        raise RequestError(
            f"{type(module).__name__} cannot be exported as {form}{where}: {_meaning(str(_first(error)))}",
            hint=f"{rewrite}take --format safetensors, which holds the weights only",
        ) from error


@contextlib.contextmanager
def runnable(form: str, module: nn.Module) -> Iterator[None]:
    """Raises RequestError where what was exported cannot be read back, or computes nothing here."""
    try:
        yield
    except (LauncherError, OSError):
        raise
    except Exception as error:
        raise RequestError(
            f"{type(module).__name__} was exported as {form}, and does not run here: {_meaning(str(error))};"
            " it was not written",
            hint="take another --format, or keep the model's inputs and weights in fp32",
        ) from error


def _first(error: BaseException) -> BaseException:
    """The ONNX exporter only says at which of its steps it was; what came before says why."""
    while type(error).__module__.startswith("torch.onnx") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _meaning(message: str) -> str:
    plain = re.sub(r"\x1b\[[\d;]*m", "", message)
    first = next((line.strip() for line in plain.splitlines() if line.strip()), "no message")
    known = next((meaning for pattern, meaning in MEANINGS if re.search(pattern, message, re.IGNORECASE)), None)
    return f"{known} ({first[:200]})" if known else first[:300]


def _where(text: str, error: BaseException) -> str:
    """The last line of the user's own code that the exporter or the traceback names."""
    named = re.findall(r'File "([^"]+)", line (\d+)', f"{text}\n{error}")
    own = [(file, line) for file, line in named if not file.startswith((*OURS, "<")) and "site-packages" not in file]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""
