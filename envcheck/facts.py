"""The facts of one machine: optional sections, each a frozen record, that go to JSON and back and can be compared."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from envcheck.sections import SECTIONS, TIERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = 1


class FactsError(ValueError):
    """A facts file that cannot be read; the message names the file and the position in it."""


@dataclass(frozen=True)
class Facts:
    """What is known of one machine. `sections` holds what could be seen, `absent` says why the rest could not."""

    host: str
    collected_at: str
    """UTC, ISO 8601."""
    tiers: tuple[str, ...] = ("static",)
    note: str = ""
    """Where the facts come from when it is not a live machine, e.g. `synthetic`."""
    sections: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def get(self, section: str) -> Any:
        """The section, or None where it could not be seen. KeyError for a section that does not exist."""
        SECTIONS[section]
        return self.sections.get(section)

    def why_absent(self, section: str) -> str:
        return self.absent.get(section) or f"not collected (tier {TIERS.get(section, 'static')})"

    def with_section(self, name: str, section: Any) -> Facts:
        absent = {other: why for other, why in self.absent.items() if other != name}
        return dataclasses.replace(self, sections={**self.sections, name: section}, absent=absent)

    def without(self, name: str, why: str) -> Facts:
        sections = {other: value for other, value in self.sections.items() if other != name}
        return dataclasses.replace(self, sections=sections, absent={**self.absent, name: why})


def expecting(facts: Facts, expectation: Any) -> Facts:
    """The facts together with what they are to be held against."""
    told = facts.with_section("expectation", expectation)
    return dataclasses.replace(told, tiers=tuple(dict.fromkeys([*facts.tiers, "expectation"])))


def as_json(facts: Facts) -> dict[str, Any]:
    """The facts as plain JSON values; `from_json` is its inverse."""
    return {
        "schema": SCHEMA,
        "host": facts.host,
        "collected_at": facts.collected_at,
        "tiers": list(facts.tiers),
        "note": facts.note,
        "sections": {name: dataclasses.asdict(facts.sections[name]) for name in sorted(facts.sections)},
        "absent": dict(sorted(facts.absent.items())),
    }


def from_json(document: Any) -> Facts:
    """Read what `as_json` wrote. Raises FactsError naming the place inside the document."""
    if not isinstance(document, dict) or "schema" not in document:
        raise FactsError("not a facts document: it has no `schema`")
    if document["schema"] != SCHEMA:
        raise FactsError(f"schema: this envcheck reads facts of schema {SCHEMA}, these are {document['schema']!r}")
    sections = {}
    for name, value in _mapping(document.get("sections", {}), "sections").items():
        if name not in SECTIONS:
            raise FactsError(f"sections.{name}: no such section")
        sections[name] = decode(SECTIONS[name], value, f"sections.{name}")
    return Facts(
        host=decode(str, document.get("host"), "host"),
        collected_at=decode(str, document.get("collected_at"), "collected_at"),
        tiers=decode(tuple[str, ...], document.get("tiers", ["static"]), "tiers"),
        note=decode(str, document.get("note", ""), "note"),
        sections=sections,
        absent=decode(dict[str, str], document.get("absent", {}), "absent"),
    )


def load(path: Path) -> Facts:
    """Read a facts file. Raises FactsError with the path, and line and column or the place inside the document."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise FactsError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except FactsError as error:
        raise FactsError(f"{path}: {error}") from None
    except RecursionError:
        raise FactsError(f"{path}: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise FactsError(f"{path}: byte {error.start} is no text in UTF-8") from None
    except (OSError, ValueError) as error:  # also a number of too many digits
        raise FactsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def decode(kind: Any, value: Any, where: str) -> Any:
    """Turn a JSON value into `kind` (a record, scalar, tuple, list, dict or optional), or say where it does not fit."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Union:
        return None if value is None else decode(get_args(kind)[0], value, where)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise FactsError(f"{where}: expected a list, found {value!r}")
        return origin(decode(get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        item_kind = get_args(kind)[1]
        return {k: decode(item_kind, v, f"{where}.{k}") for k, v in _mapping(value, where).items()}
    if dataclasses.is_dataclass(kind):
        return _decode_record(kind, _mapping(value, where), where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FactsError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value


def differences(left: Facts, right: Facts) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted place, left value, right value) for every fact the two do not share; volatile ones are left out.

    A section that only one of them has is one difference, with the reason why the other has none.
    """
    if left.tiers != right.tiers:
        yield "tiers", ", ".join(left.tiers), ", ".join(right.tiers)
    for name in sorted(SECTIONS.keys() - VOLATILE):
        pair = [facts.get(name) for facts in (left, right)]
        if None not in pair:
            yield from _unlike(*(dict(_flatten(dataclasses.asdict(section), name)) for section in pair))
            continue
        told = [facts.why_absent(name) if facts.get(name) is None else "seen" for facts in (left, right)]
        if told[0] != told[1]:
            yield name, told[0], told[1]


def _unlike(one: dict[str, Any], two: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for place in sorted(one.keys() | two.keys()):
        if place not in one or place not in two or one[place] != two[place]:
            yield place, one.get(place), two.get(place)


def _decode_record(kind: Any, value: dict[str, Any], where: str) -> Any:
    fields = {one.name: one for one in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise FactsError(f"{where}.{name}: no such field")
    for name, one in fields.items():
        if name not in value and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise FactsError(f"{where}.{name}: missing")
    return kind(**{name: decode(fields[name].type, item, f"{where}.{name}") for name, item in value.items()})


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FactsError(f"{where}: expected an object, found {value!r}")
    return value


def _flatten(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in VOLATILE:
                yield from _flatten(item, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{where}[{index}]")
    else:
        yield where, value


VOLATILE = frozenset({
    "need", "pid", "temperature", "memory_used", "free_bytes", "free_inodes", "shm_free_bytes", "pids_used", "clock",
    "seconds", "reverse_seconds", "entries",
})  # fmt: skip
"""Field names whose values change by themselves and say nothing about how two machines differ."""
