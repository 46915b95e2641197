"""What an exporter says of a model it cannot trace, in one sentence with the line of the user's code."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from launcher.errors import LauncherError, RequestError

OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))
"""Frames of torch and launcher are not the user's."""

MEANINGS = (
    (r"data-dependent|GuardOnDataDependent|Could not extract|item\(\)", "its way depends on the values it is given"),
    (r"constraint|specialized|ConstraintViolation", "it works for one batch size only"),
    (
        r"unsupported|No ONNX function|does not support|not supported",
        "an operation is not among the form's",
    ),
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
        raise RequestError(
            f"{type(module).__name__} cannot be exported as {form}{where}: {_meaning(str(error))}",
            hint="rewrite that line with tensor operations, or take --format safetensors, which holds the weights only",
        ) from error


def _meaning(message: str) -> str:
    first = next((line.strip() for line in message.splitlines() if line.strip()), "no message")
    known = next((meaning for pattern, meaning in MEANINGS if re.search(pattern, message, re.IGNORECASE)), None)
    return f"{known} ({first[:200]})" if known else first[:300]


def _where(text: str, error: BaseException) -> str:
    """The last line of the user's own code that the exporter or the traceback names."""
    named = re.findall(r'File "([^"]+)", line (\d+)', f"{text}\n{error}")
    own = [(file, line) for file, line in named if not file.startswith((*OURS, "<")) and "site-packages" not in file]
    return f" at {own[-1][0]}:{own[-1][1]}" if own else ""
