"""YAML with a place for every key.

Built on the parser's events instead of a loader: nothing is constructed, no tag is obeyed, and the number of values,
their depth and what an alias may expand to are bounded while reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from launcher.errors import printable
from launcher.jobfile.scalars import plain

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000

KeyPath = tuple[str | int, ...]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, order=True)
class Place:
    """Where a value was given; ordered as a reader meets them: the file from its top, then the options."""

    position: int
    label: str


@dataclass(frozen=True, order=True)
class Fault:
    place: Place
    path: KeyPath
    message: str

    def __str__(self) -> str:
        if not self.path or self.place.label.startswith(f"--set {dotted(self.path)}="):
            return f"{self.place.label}: {self.message}"
        return f"{self.place.label} {dotted(self.path)}: {self.message}"


@dataclass
class Document:
    """What was read. `data` is None where it could not be read to its end; then there are faults."""

    data: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """The place of the value, or of the nearest section around it that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]


def dotted(path: KeyPath) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def shortened(text: str, length: int = 60) -> str:
    return printable(text if len(text) <= length else text[: length - 1] + "…")


def read(text: bytes, place_of_line: Callable[[int], Place]) -> Document:
    """Read one YAML document. Never raises: whatever is wrong becomes a fault.

    `place_of_line` names the place of a line, counted from 1.
    """
    document = Document(places={(): place_of_line(1)})
    try:
        characters = _characters(text, place_of_line)
        _Reader(characters, place_of_line, document).read()
    except _Unreadable as end:
        document.data = None
        document.faults.append(end.fault)
    return document


class _Unreadable(Exception):
    """Reading cannot go on after this fault."""

    def __init__(self, place: Place, message: str, path: KeyPath = ()) -> None:
        super().__init__(message)
        self.fault = Fault(place, path, message)


_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _characters(text: bytes, place_of_line: Callable[[int], Place]) -> str:
    if len(text) > MAX_BYTES:
        raise _Unreadable(place_of_line(1), "the file is larger than 1 MiB; a job file is a page of text")
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _Unreadable(place_of_line(line), "the text is not UTF-8; save the file as UTF-8") from error
    if bad := _NOT_TEXT.search(characters):
        line = characters.count("\n", 0, bad.start()) + 1
        raise _Unreadable(place_of_line(line), f"there is a control character ({printable(bad.group())}); remove it")
    return characters


class _Reader:
    def __init__(self, text: str, place_of_line: Callable[[int], Place], document: Document) -> None:
        self.text = text
        self.place_of_line = place_of_line
        self.document = document
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.values = 0

    def read(self) -> None:
        events = self._events()
        next(events)  # the start of the stream
        if isinstance(next(events), yaml.StreamEndEvent):
            raise _Unreadable(self.place_of_line(1), "the file is empty; `launcher schema` says what belongs in it")
        data = self._value(next(events), events, ())
        next(events)  # the end of the document
        if not isinstance(following := next(events), yaml.StreamEndEvent):
            raise _Unreadable(self._place(following), "a second document begins here; a job file holds one job")
        self.document.data = data

    def _events(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self.text, Loader=Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise _Unreadable(self.place_of_line(line), self._syntax(error, line)) from error
        except yaml.YAMLError as error:
            raise _Unreadable(self.place_of_line(1), f"this is not YAML: {printable(str(error))}") from error

    def _syntax(self, error: yaml.MarkedYAMLError, line: int) -> str:
        lines = self.text.splitlines()
        here = lines[line - 1] if line <= len(lines) else ""
        if "\t" in here[: len(here) - len(here.lstrip())]:
            return "a tab stands in the indentation; YAML is indented by spaces"
        problem = printable(error.problem or str(error))
        return f"this is not YAML: {problem}" + (f", {printable(error.context)}" if error.context else "")

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        before = self.values
        self._count(1, event, path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = None
        if (tag := getattr(event, "tag", None)) is not None:
            self._fault(event, path, f"the tag {shortened(tag)} is not read; write the value without it")
        value = self._untagged(event, events, path)
        if anchor is not None:
            self.anchors[anchor] = (value, self.values - before)
        return value

    def _untagged(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= MAX_DEPTH:
            raise _Unreadable(self._place(event), f"values are nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        return self._mapping(events, path)

    def _alias(self, event: yaml.AliasEvent, path: KeyPath) -> Any:
        name = str(event.anchor)
        if name not in self.anchors:
            raise _Unreadable(self._place(event), f"nothing before this is named &{shortened(name)}", path)
        if (known := self.anchors[name]) is None:
            raise _Unreadable(self._place(event), f"*{shortened(name)} stands inside itself", path)
        value, size = known
        self._count(size, event, path)
        return value

    def _sequence(self, events: Iterator[yaml.Event], path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.document.places[here] = self._place(event)
            items.append(self._value(event, events, here))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable(self._place(event), "a key must be plain text", path)
            here = (*path, event.value)
            first = self.document.places.get(here)
            if event.value in mapping and first:
                self._fault(event, here, f"given twice; the first is at {first.label}")
            elif event.value == "<<" and event.implicit[0]:
                self._fault(event, here, "keys are not merged from elsewhere; write them out")
            self.document.places[here] = self._place(event)
            mapping[event.value] = self._value(next(events), events, here)
        return mapping

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        if not event.implicit[0]:
            return event.value
        try:
            return plain(event.value)
        except ValueError as error:
            self._fault(event, path, str(error))
            return None

    def _count(self, values: int, event: yaml.Event, path: KeyPath) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise _Unreadable(self._place(event), f"there are more than {MAX_VALUES:,} values, aliases included", path)

    def _fault(self, event: yaml.Event, path: KeyPath, message: str) -> None:
        self.document.faults.append(Fault(self._place(event), path, message))

    def _place(self, event: yaml.Event) -> Place:
        return self.place_of_line(event.start_mark.line + 1 if event.start_mark else 1)
