"""Curves in a terminal: two by four dots a character, one colour a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import click

from launcher.history import Points

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
MARGIN = 11
"""Characters for the numbers at the left."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column."""


def lines(series: Mapping[str, Points], *, width: int, height: int = 12) -> Iterator[str]:
    """The picture, its axis and its key; nothing where no value is finite."""
    finite = [(step, value) for points in series.values() for step, value in points if math.isfinite(value)]
    if not finite:
        return
    steps, values = [step for step, _ in finite], [value for _, value in finite]
    columns = max(20, width - MARGIN)
    canvas = _Canvas((min(steps), max(steps)), (min(values), max(values)), columns, height)
    for number, points in enumerate(series.values()):
        canvas.draw(points, number)
    for row in range(height):
        shown = {0: f"{max(values):.4g}", height - 1: f"{min(values):.4g}"}.get(row, "")
        yield f"{shown:>{MARGIN - 2}} {canvas.row(row)}".rstrip()
    yield " " * (MARGIN - 1) + f"{min(steps)}{max(steps):>{columns - len(str(min(steps)))}}"
    for number, name in enumerate(series):
        yield " " * (MARGIN - 1) + click.style(f"— {name}", fg=COLOURS[number % len(COLOURS)])


class _Canvas:
    def __init__(self, steps: tuple[int, int], values: tuple[float, float], columns: int, rows: int) -> None:
        self._steps, self._values, self._columns, self._rows = steps, values, columns, rows
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}
        """Dots and the newest line, by row and column."""

    def draw(self, points: Points, number: int) -> None:
        before: tuple[int, int] | None = None
        for step, value in points:
            here = self._place(step, value) if math.isfinite(value) else None
            for x, y in _between(before, here):
                self._dot(x, y, number)
            before = here

    def row(self, row: int) -> str:
        return "".join(self._cell(row, column) for column in range(self._columns))

    def _cell(self, row: int, column: int) -> str:
        if (row, column) not in self._cells:
            return " "
        dots, number = self._cells[row, column]
        return click.style(chr(0x2800 + dots), fg=COLOURS[number % len(COLOURS)])

    def _place(self, step: int, value: float) -> tuple[int, int]:
        x = _share(step, self._steps) * (2 * self._columns - 1)
        y = (1 - _share(value, self._values)) * (4 * self._rows - 1)
        return round(x), round(y)

    def _dot(self, x: int, y: int, number: int) -> None:
        cell = (y // 4, x // 2)
        dots, _ = self._cells.get(cell, (0, number))
        self._cells[cell] = (dots | _DOTS[y % 4][x % 2], number)


def _share(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return 0.5 if low == high else (value - low) / (high - low)


def _between(before: tuple[int, int] | None, here: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """The dots of the stroke from one place to the next."""
    if here is None:
        return
    start = before or here
    length = max(abs(here[0] - start[0]), abs(here[1] - start[1]), 1)
    for part in range(length + 1):
        yield tuple(round(a + (b - a) * part / length) for a, b in zip(start, here, strict=True))  # type: ignore[misc]
