"""Dotted versions compared as numbers, and pip's requirement lines judged without pip."""

from __future__ import annotations

import re
from typing import Callable, NamedTuple


def parse(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` -> (2, 13, 0): the leading numbers; what follows them (rc1, +cu130) is left out."""
    found = re.match(r"\d+(?:\.\d+)*", version.strip().lstrip("v"))
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def at_least(version: str, other: str) -> bool:
    return compare(version, other) >= 0


def compare(version: str, other: str) -> int:
    """-1, 0 or 1; a missing part counts as zero, so 13.0 equals 13.0.0."""
    left, right = parse(version), parse(other)
    length = max(len(left), len(right))
    padded = [part + (0,) * (length - len(part)) for part in (left, right)]
    return (padded[0] > padded[1]) - (padded[0] < padded[1])


def minor(version: str) -> str:
    """`13.0.2` -> `13.0`."""
    return ".".join(str(part) for part in parse(version)[:2])


CLAUSE = re.compile(r"\s*(==|>=|<=|!=|~=|<|>)\s*([^\s*]+?)(\.\*)?\s*")


class Requirement(NamedTuple):
    """One `Requires-Dist` line, as far as it can be judged without pip."""

    name: str
    clauses: tuple[tuple[str, str], ...]

    def admits(self, version: str) -> bool:
        return all(OPERATORS[operator](version, wanted) for operator, wanted in self.clauses)

    def __str__(self) -> str:
        return self.name + ",".join(operator + wanted for operator, wanted in self.clauses)


def requirement(line: str, variables: dict[str, str]) -> Requirement | None:
    """Read a `Requires-Dist` line; None where it does not apply here, or says something unusual."""
    text, _, marker = line.partition(";")
    found = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^()]*)\)?\s*", text)
    if not found or not _applies(marker, variables):
        return None
    written = [one for one in found[2].split(",") if one.strip()]
    read = [one for one in map(CLAUSE.fullmatch, written) if one]
    if len(read) < len(written):
        return None
    return Requirement(normal(found[1]), tuple((one[1] + (".*" if one[3] else ""), one[2]) for one in read))


def normal(name: str) -> str:
    """A distribution's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _starts_with(version: str, wanted: str) -> bool:
    return parse(version)[: len(parse(wanted))] == parse(wanted)


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "==": lambda version, wanted: compare(version, wanted) == 0,
    "!=": lambda version, wanted: compare(version, wanted) != 0,
    ">=": lambda version, wanted: compare(version, wanted) >= 0,
    "<=": lambda version, wanted: compare(version, wanted) <= 0,
    ">": lambda version, wanted: compare(version, wanted) > 0,
    "<": lambda version, wanted: compare(version, wanted) < 0,
    "==.*": _starts_with,
    "!=.*": lambda version, wanted: not _starts_with(version, wanted),
    "~=": lambda version, wanted: (
        compare(version, wanted) >= 0 and parse(version)[: len(parse(wanted)) - 1] == parse(wanted)[:-1]
    ),
}


def _applies(marker: str, variables: dict[str, str]) -> bool:
    """Judge a marker of `and`s and `or`s; extras are never wanted, and what cannot be judged does not apply."""
    if not marker.strip():
        return True
    return any(all(_clause(one, variables) for one in part.split(" and ")) for part in marker.split(" or "))


def _clause(text: str, variables: dict[str, str]) -> bool:
    found = re.fullmatch(r"[\s(]*(\w+)\s*(==|!=|>=|<=|<|>)\s*[\"']([^\"']*)[\"'][\s)]*", text)
    if not found or found[1] not in variables:
        return False
    name, operator, wanted = found.groups()
    if parse(wanted) and "version" in name:
        return OPERATORS[operator](variables[name], wanted)
    return (variables[name] == wanted) == (operator == "==")
