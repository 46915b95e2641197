"""The `--set a.b=value` options, laid over what the file says."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from launcher.errors import printable
from launcher.jobfile.scalars import plain
from launcher.jobfile.source import MAX_BYTES, Document, Fault, KeyPath, Place, dotted, read

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
"""Text that reads as itself without quotes."""


def apply(document: Document, overrides: Sequence[str]) -> None:
    """Set each override in turn; sections that the file lacks are made. A bad override becomes a fault."""
    for number, override in enumerate(overrides):
        place = Place(MAX_BYTES + 2 + number, printable(f"--set {override}"))
        try:
            path, value = _parsed(override, place)
            document.data = _with(document.data, path, value, ())
        except ValueError as error:
            document.faults.append(Fault(place, (), str(error)))
            continue
        _move(document, path, place)


def setting(key: str, value: Any) -> str:
    """The override that sets a key to a value."""
    bare = isinstance(value, str) and _BARE.fullmatch(value) and plain(value) == value
    return f"{key}={value if bare else json.dumps(value)}"


def _parsed(override: str, place: Place) -> tuple[KeyPath, Any]:
    if not override.isprintable():
        raise ValueError("there is a line break or a control character; put such a value in the job file")
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ValueError("not of the form --set section.key=value")
    if not text.strip():
        raise ValueError("""the value is missing; write null for none, '""' for empty text""")
    read_value = read(text.encode(), lambda _: place)
    if read_value.faults:
        raise ValueError(f"{read_value.faults[0].message}; quote the value if it is text")
    if isinstance(read_value.data, dict | list) and text.lstrip()[0] not in "[{":
        raise ValueError("not a single value; quote it if it is text, or write {key: value} or [a, b]")
    return path, read_value.data


def _with(data: Any, path: KeyPath, value: Any, done: KeyPath) -> Any:
    """A copy of the data with one value set: sections that aliases share must not change together."""
    if not path:
        return value
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"{dotted(done)} is a single value or a list, not a section with keys")
    section = dict(data or {})
    section[str(path[0])] = _with(section.get(str(path[0])), path[1:], value, (*done, path[0]))
    return section


def _move(document: Document, path: KeyPath, place: Place) -> None:
    document.places = {known: at for known, at in document.places.items() if known[: len(path)] != path}
    for length in range(1, len(path)):
        document.places.setdefault(path[:length], place)
    document.places[path] = place
