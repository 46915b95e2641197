"""The spec's classes as pydantic sees them: every fault of a job at once, put into words, and the JSON Schema.

Imported only where one of these is asked for: it takes longer than all the rest of a command that starts a job.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from launcher.errors import nearest
from launcher.jobfile import rules
from launcher.jobfile.source import KeyPath, shortened
from launcher.jobfile.wording import choices, every_key, expected, keys, section_of, shown
from launcher.spec import JobSpec

Record = TypeVar("Record")


def read(kind: type[Record], data: dict[str, Any]) -> tuple[Record | None, dict[KeyPath, str]]:
    """The record, or what is wrong by path: one sentence each, however many of a union's branches complained."""
    try:
        adapter: TypeAdapter[Record] = _adapter(cast(type, kind))
        # Strict dataclasses accept JSON objects only from JSON text.
        return adapter.validate_json(json.dumps(data)), {}
    except ValidationError as error:
        return None, dict(_sentences(error, kind, data))


def schema() -> dict[str, Any]:
    described = _adapter(JobSpec).json_schema()
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
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sentences(error: ValidationError, kind: type, data: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for detail in error.errors(include_url=False, include_context=False)[:1000]:
        path, annotation, section = _located(kind, detail["loc"])
        if detail["type"] == "unexpected_keyword_argument":
            yield path, _unknown(str(path[-1]), section, kind)
        elif detail["type"] == "missing":
            yield path, f"missing; it takes {expected(annotation)}"
        else:
            yield path, _unfit(_value(data, path), annotation)


def _located(kind: type, location: tuple[str | int, ...]) -> tuple[KeyPath, Any, type]:
    """The key at fault, what it expects and the section it stands in; names of a union's branches are left out."""
    section: type = kind
    annotation: Any = kind
    for depth, key in enumerate(location):
        inner = section_of(annotation) if depth else kind
        if inner is None:
            free = annotation == dict[str, str]
            return location[: depth + 1 if free else depth], str if free else annotation, section
        section = inner
        annotation = keys(section).get(str(key))
        if annotation is None:
            return location[: depth + 1], None, section
    return location, annotation, section


def _unknown(key: str, section: type, kind: type) -> str:
    elsewhere = [path for path in every_key(kind) if path.endswith(f".{key}")]
    near = nearest(key, keys(section)) or (f" (did you mean {elsewhere[0]}?)" if elsewhere else "")
    return f"there is no such key; the keys here are {', '.join(keys(section))}{near}"


def _unfit(value: Any, annotation: Any) -> str:
    sentence = f"{shown(value)} is not {expected(annotation)}"
    if annotation is str and value is not None and not isinstance(value, dict | list):
        return f'{sentence}; put it in quotes: "{shortened(json.dumps(value))}"'
    return sentence + (nearest(value, choices(annotation)) if isinstance(value, str) else "")


def _value(data: Any, path: KeyPath) -> Any:
    for key in path:
        data = data[key]
    return data
