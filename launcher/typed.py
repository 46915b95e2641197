"""Plain records out of JSON, checked: every value is of the type that its field says, or the place is named."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from launcher.bounds import Bound

Record = TypeVar("Record")


class Misfit(ValueError):
    """A value that does not fit; the message names the place inside the document."""


def read(kind: type[Record], value: object, where: str = "") -> Record:
    """A frozen dataclass, with all within it, out of a JSON object. Raises Misfit."""
    return cast(Record, decode(kind, value, where))


def decode(kind: Any, value: Any, where: str) -> Any:
    """The value as `kind`: a record, a scalar, a union, a literal, a tuple or a mapping of such. Raises Misfit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(decode(arguments[0], value, where), arguments[1:], where)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where)
    if kind is Any or (origin is Literal and value in arguments and type(value) in map(type, arguments)):
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(decode(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if origin in (dict, collections.abc.Mapping) and isinstance(value, dict):
        return {key: decode(arguments[1], item, _inside(where, key)) for key, item in value.items()}
    if kind is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            return float(value)
    if type(value) is not (types.NoneType if kind is None else kind):
        raise Misfit(f"{where or 'the document'}: {str(value)[:60]!r} is not {_name(kind)}")
    return value


def fitting(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values whose names and types are those of the record's fields; the others are left out."""
    kept = {}
    for name, annotation in fields(kind).items():
        if name in values:
            try:
                kept[name] = decode(annotation, values[name], name)
            except Misfit:
                continue
    return kept


@functools.cache
def fields(kind: type) -> dict[str, Any]:
    """The record's fields and what each takes."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _record(kind: Any, value: dict[str, Any], where: str) -> Any:
    known = fields(kind)
    for name in value.keys() - known.keys():
        raise Misfit(f"{_inside(where, name)}: there is no such field")
    decoded = {name: decode(known[name], item, _inside(where, name)) for name, item in value.items()}
    try:
        return kind(**decoded)
    except TypeError as error:
        raise Misfit(f"{where or 'the document'}: {error}") from None


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    misfits = []
    for kind in kinds:
        try:
            return decode(kind, value, where)
        except Misfit as misfit:
            misfits.append(misfit)
    raise max(misfits, key=lambda misfit: str(misfit).count(".") + str(misfit).count("["))


def _bounded(value: Any, bounds: tuple[Any, ...], where: str) -> Any:
    if any(isinstance(bound, Bound) and not bound.holds(value) for bound in bounds):
        raise Misfit(f"{where or 'the document'}: {str(value)[:60]!r} is out of bounds")
    return value


def _inside(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return "nothing" if kind in (None, types.NoneType) else getattr(kind, "__name__", str(kind))
