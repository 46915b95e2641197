"""Reads a job file: every fault at once, each with its place and remedy."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from launcher.errors import RequestError, nearest, printable
from launcher.jobfile import overrides as options
from launcher.jobfile import rules
from launcher.jobfile.source import MAX_BYTES, Fault, KeyPath, Place, read, shortened
from launcher.jobfile.wording import choices, expected, keys, section_of, shown
from launcher.spec import JobSpec

MOST_FAULTS = 50


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
        raise RequestError(f"{printable(str(path))} does not exist{nearest(path.name, siblings)}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"{printable(str(path))} cannot be read: {reason}") from error


def parse(text: bytes, *, source: str, overrides: Sequence[str] = ()) -> JobSpec:
    """The job that the text describes; faults name `source` and the line."""
    label = printable(source)
    document = read(text, lambda line: Place(line, f"{label}:{line}"))
    if document.faults and document.data is None:
        raise _refusal(document.faults, label)
    options.apply(document, overrides)
    if not isinstance(document.data, dict):
        document.faults.append(Fault(document.place(()), (), "this is not a mapping; a job file has keys, `name: …`"))
        raise _refusal(document.faults, label)
    spec, faults = _validated(document.data)
    known = {fault.path for fault in document.faults}
    found = (Fault(document.place(path), path, message) for path, message in faults.items() if path not in known)
    document.faults.extend(found)
    if spec is None or document.faults:
        raise _refusal(document.faults, label)
    return spec


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the job file, for the completion and checks of editors."""
    described = _adapter().json_schema()
    described["properties"]["name"]["pattern"] = f"^{rules.NAME}$"
    one_length = [
        {"required": [given], "properties": {given: {"type": "integer"}, other: {"type": "null"}}}
        for given, other in (("epochs", "steps"), ("steps", "epochs"))
    ]
    no_length = {"properties": {"epochs": {"type": "null"}, "steps": {"type": "null"}}}
    script = {"properties": {"task": {"properties": {"kind": {"const": "script"}}, "required": ["kind"]}}}
    described["if"] = script
    described["then"] = {"properties": {"training": {"anyOf": [*one_length, no_length]}}}
    described["else"] = {"properties": {"training": {"oneOf": one_length}}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": "launcher job file"}


@functools.cache
def _adapter() -> TypeAdapter[JobSpec]:
    return TypeAdapter(JobSpec)


def _refusal(faults: list[Fault], label: str) -> RequestError:
    lines = [str(fault) for fault in sorted(faults)]
    if len(lines) == 1:
        return RequestError(lines[0])
    shown_lines = lines[:MOST_FAULTS]
    if len(lines) > MOST_FAULTS:
        shown_lines.append(f"… and {len(lines) - MOST_FAULTS} more")
    return RequestError("\n  ".join([f"{label} has {len(lines)} faults", *shown_lines]))


def _validated(data: dict[str, Any]) -> tuple[JobSpec | None, dict[KeyPath, str]]:
    """The job, and what is wrong by path: one sentence each, however many of a union's branches complained."""
    faults: dict[KeyPath, str] = {}
    spec = None
    try:
        # Strict dataclasses accept JSON objects only from JSON text.
        spec = _adapter().validate_json(json.dumps(data))
    except ValidationError as error:
        faults.update(_sentences(error, data))
    for path, message in rules.findings(data):
        faults.setdefault(path, message)
    return spec, faults


def _sentences(error: ValidationError, data: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for detail in error.errors(include_url=False, include_context=False)[:1000]:
        path, annotation, section = _located(detail["loc"])
        if detail["type"] == "unexpected_keyword_argument":
            yield path, _unknown(str(path[-1]), section)
        elif detail["type"] == "missing":
            yield path, f"missing; it takes {expected(annotation)}"
        else:
            yield path, _unfit(_value(data, path), annotation)


def _located(location: tuple[str | int, ...]) -> tuple[KeyPath, Any, type]:
    """The key at fault, what it expects and the section it stands in; names of a union's branches are left out."""
    section: type = JobSpec
    annotation: Any = JobSpec
    for depth, key in enumerate(location):
        inner = section_of(annotation) if depth else JobSpec
        if inner is None:
            free = annotation == dict[str, str]
            return location[: depth + 1 if free else depth], str if free else annotation, section
        section = inner
        annotation = keys(section).get(str(key))
        if annotation is None:
            return location[: depth + 1], None, section
    return location, annotation, section


def _unknown(key: str, section: type) -> str:
    elsewhere = [path for path in _every_key(JobSpec) if path.endswith(f".{key}")]
    near = nearest(key, keys(section)) or (f" (did you mean {elsewhere[0]}?)" if elsewhere else "")
    return f"there is no such key; the keys here are {', '.join(keys(section))}{near}"


def _every_key(section: type, prefix: str = "") -> Iterator[str]:
    for key, annotation in keys(section).items():
        yield prefix + key
        if inner := section_of(annotation):
            yield from _every_key(inner, f"{prefix}{key}.")


def _unfit(value: Any, annotation: Any) -> str:
    sentence = f"{shown(value)} is not {expected(annotation)}"
    if annotation is str and value is not None and not isinstance(value, dict | list):
        return f'{sentence}; put it in quotes: "{shortened(json.dumps(value))}"'
    return sentence + (nearest(value, choices(annotation)) if isinstance(value, str) else "")


def _value(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[key]
    return data
