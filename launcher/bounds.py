"""Limits on a value, for `Annotated[...]`: `typed` and pydantic hold them, and `wording` says them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "max_length": lambda value, limit: len(value) <= limit,
}


class Bound:
    """One limit, by the name that pydantic's schemas have for it."""

    __slots__ = ("limit", "name")

    def __init__(self, name: str, limit: float) -> None:
        self.name = name
        self.limit = limit

    def holds(self, value: Any) -> bool:
        return _HOLDS[self.name](value, self.limit)

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), self.name: self.limit}


def at_least(limit: float) -> Bound:
    return Bound("ge", limit)


def above(limit: float) -> Bound:
    return Bound("gt", limit)


def at_most(limit: float) -> Bound:
    return Bound("le", limit)


def no_longer_than(characters: int) -> Bound:
    return Bound("max_length", characters)
