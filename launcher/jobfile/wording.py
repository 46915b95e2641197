"""Puts what a key expects, and what it was given, into words; the words come from the spec's own types."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union

from launcher.jobfile.source import shortened

_NAMES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a section of keys",
    tuple: "a list of texts",
    Any: "anything",
}
_LIMITS = {
    "ge": " of at least {ge}",
    "gt": " above {gt}",
    "le": " of at most {le}",
    "max_length": " of at most {max_length} characters",
}
_RANGE = " from {ge} to {le}"


@functools.cache
def keys(section: type) -> dict[str, Any]:
    """The keys of a section and their types, in the order of the spec."""
    hints = typing.get_type_hints(section, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(section)}


def section_of(annotation: Any) -> type | None:
    """The section class that a key holds, if it holds one."""
    option = _options(annotation)[0]
    return option if isinstance(option, type) and dataclasses.is_dataclass(option) else None


def every_key(section: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a section and of all within it."""
    for key, annotation in keys(section).items():
        yield prefix + key
        if inner := section_of(annotation):
            yield from every_key(inner, f"{prefix}{key}.")


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that a key allows."""
    literals = (option for option in _options(annotation) if typing.get_origin(option) is Literal)
    return tuple(word for literal in literals for word in typing.get_args(literal))


def expected(annotation: Any) -> str:
    """What a key takes: `a whole number from 1 to 4096`, `epoch or a whole number of at least 1`."""
    return " or ".join(_one(option) for option in _options(annotation))


def shown(value: Any) -> str:
    """A value as a fault names it."""
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    return shortened(json.dumps(value))


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for option in typing.get_args(annotation) if option is not type(None))
    return (annotation,)


def _one(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        words = typing.get_args(annotation)
        return words[0] if len(words) == 1 else "one of " + ", ".join(words)
    if dataclasses.is_dataclass(annotation):
        return "a section with the keys " + ", ".join(keys(typing.cast(type, annotation)))
    if typing.get_origin(annotation) is Annotated:
        base, *bounds = typing.get_args(annotation)
        if isinstance(bounds[0], str):
            return bounds[0]
        return _NAMES[base] + _bounds({bound.name: bound.limit for bound in bounds})
    return _NAMES[typing.get_origin(annotation) or annotation]


def _bounds(limits: dict[str, float]) -> str:
    words = _RANGE if limits.keys() >= {"ge", "le"} else _LIMITS[next(iter(limits))]
    return words.format(**limits)
