"""Reads a job file: every fault at once, each with its place and remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from launcher import typed
from launcher.errors import RequestError, nearest, printable
from launcher.jobfile import overrides as options
from launcher.jobfile import rules
from launcher.jobfile.source import MAX_BYTES, Fault, KeyPath, Place, read
from launcher.spec import JobSpec

MOST_FAULTS = 50

Record = TypeVar("Record")


def load(path: Path, overrides: Sequence[str] = ()) -> JobSpec:
    """Read the job file, with the `--set` options laid over it. Raises RequestError with all faults."""
    return parse(contents(path), source=str(path), overrides=overrides)


def contents(path: Path) -> bytes:
    """The bytes of a job file; not more of them than show that it is too large."""
    if path.exists() and not path.is_file():
        raise RequestError(f"{printable(str(path))} is not a file", hint="name a job file, such as jobs/mlp.yaml")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        siblings = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = nearest(path.name, siblings, lambda name: Path(name).stem.lower())  # all end in .yaml
        raise RequestError(f"{printable(str(path))} does not exist{near}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"{printable(str(path))} cannot be read: {reason}") from error


def parse(text: bytes, *, source: str, overrides: Sequence[str] = ()) -> JobSpec:
    """The job that the text describes; faults name `source` and the line."""
    return read_as(JobSpec, rules.findings, text, source=source, overrides=overrides)


def read_as(
    kind: type[Record],
    findings: Callable[[dict[str, Any]], rules.Findings],
    text: bytes,
    *,
    source: str,
    overrides: Sequence[str] = (),
) -> Record:
    """The record of a kind that the text describes; `findings` are the rules that its types cannot say."""
    label = printable(source)
    document = read(text, lambda line: Place(line, f"{label}:{line}"))
    if document.faults and document.data is None:
        raise _refusal(document.faults, label)
    options.apply(document, overrides)
    if not isinstance(document.data, dict):
        document.faults.append(Fault(document.place(()), (), "this is not a mapping; it takes keys, `name: …`"))
        raise _refusal(document.faults, label)
    record, faults = _validated(kind, findings, document.data)
    known = {fault.path for fault in document.faults}
    found = (Fault(document.place(path), path, message) for path, message in faults.items() if path not in known)
    document.faults.extend(found)
    if record is None or document.faults:
        raise _refusal(document.faults, label)
    return record


def overridden(text: bytes, overrides: Sequence[str]) -> Any:
    """What a job file that was checked says, with the settings laid over it."""
    document = read(text, lambda line: Place(line, str(line)))
    options.apply(document, overrides)
    return document.data


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the job file, for the completion and checks of editors."""
    from launcher.jobfile import validator

    return validator.schema()


def _refusal(faults: list[Fault], label: str) -> RequestError:
    lines = [str(fault) for fault in sorted(faults)]
    if len(lines) == 1:
        return RequestError(lines[0])
    shown_lines = lines[:MOST_FAULTS]
    if len(lines) > MOST_FAULTS:
        shown_lines.append(f"… and {len(lines) - MOST_FAULTS} more")
    return RequestError("\n  ".join([f"{label} has {len(lines)} faults", *shown_lines]))


def _validated(
    kind: type[Record], findings: Callable[[dict[str, Any]], rules.Findings], data: dict[str, Any]
) -> tuple[Record | None, dict[KeyPath, str]]:
    """The record, and what is wrong by path. One without a fault does not wait for the validator to be imported."""
    faults: dict[KeyPath, str] = {}
    record = None
    try:
        record = typed.read(kind, data)
    except typed.Misfit:
        from launcher.jobfile import validator

        record, faults = validator.read(kind, data)
    for path, message in findings(data):
        faults.setdefault(path, message)
    return record, faults
