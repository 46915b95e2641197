"""Curves as inline SVG: one picture a quantity, one line a series, with axes that end on round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from launcher.history import Points

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 30
"""Room around the drawing for the numbers."""
MOST_POINTS = 500
COLOURS = 6
"""How many classes `line-0` … the style sheet has."""


def picture(title: str, series: Mapping[str, Points]) -> str:
    """A figure with the lines, or nothing where there is no finite value."""
    drawn = {name: thinned(points) for name, points in series.items()}
    finite = [(step, value) for points in drawn.values() for step, value in points if math.isfinite(value)]
    if not finite:
        return ""
    steps, values = [step for step, _ in finite], [value for _, value in finite]
    frame = _Frame(ticks(min(steps), max(steps)), ticks(min(values), max(values)))
    lines = "".join(_line(number, points, frame) for number, points in enumerate(drawn.values()))
    label = escape(f"{title}: from {values[0]:.4g} to {values[-1]:.4g} over steps {min(steps)} to {max(steps)}")
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{_axes(frame)}{lines}</svg>'
    return f"<figure><figcaption>{escape(title)}{_legend(drawn)}</figcaption>{drawing}</figure>"


def scatter(title: str, points: Sequence[tuple[float, float]]) -> str:
    """A figure with a dot for each point, or nothing where there is none."""
    if not points:
        return ""
    across, up = [x for x, _ in points], [y for _, y in points]
    frame = _Frame(ticks(min(across), max(across)), ticks(min(up), max(up)))
    dots = "".join(_dot("line-0", x, y, frame) for x, y in points)
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{_axes(frame)}{dots}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def thinned(points: Points) -> Points:
    """At most MOST_POINTS of them: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= MOST_POINTS:
        return points
    stretch = math.ceil(2 * len(points) / MOST_POINTS)
    kept: list[tuple[int, float]] = []
    for first in range(0, len(points), stretch):
        part = points[first : first + stretch]
        broken = [point for point in part if not math.isfinite(point[1])][:1]
        whole = sorted((point for point in part if math.isfinite(point[1])), key=lambda point: point[1])
        kept += sorted({*whole[:1], *whole[-1:], *broken})
    return tuple(kept)


def ticks(low: float, high: float) -> Sequence[float]:
    """Four to seven round numbers that hold the range between them."""
    if low == high:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / size), math.ceil(high / size)
    return [number * size for number in range(first, last + 1)]


class _Frame:
    """Where on the picture a step and a value are."""

    def __init__(self, steps: Sequence[float], values: Sequence[float]) -> None:
        self.steps, self.values = steps, values

    def x(self, step: float) -> float:
        return LEFT + (step - self.steps[0]) / (self.steps[-1] - self.steps[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.values[0]) / (self.values[-1] - self.values[0]) * (HEIGHT - TOP - BOTTOM)


def _axes(frame: _Frame) -> str:
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(value):.1f}" y2="{frame.y(value):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{frame.y(value) + 4:.1f}" text-anchor="end">{value:.6g}</text>'
        for value in frame.values
    )
    below = "".join(
        f'<text x="{frame.x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:.6g}</text>'
        for step, anchor in zip(frame.steps, [*["middle"] * (len(frame.steps) - 1), "end"], strict=True)
    )
    return grid + below


def _line(number: int, points: Points, frame: _Frame) -> str:
    return "".join(_stroke(number, part, frame) for part in _unbroken(points))


def _stroke(number: int, part: Sequence[tuple[int, float]], frame: _Frame) -> str:
    colour = f"line-{number % COLOURS}"
    if len(part) == 1:
        return _dot(colour, *part[0], frame)
    places = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in part)
    return f'<polyline class="{colour}" points="{places}"/>'


def _dot(colour: str, x: float, y: float, frame: _Frame) -> str:
    return f'<circle class="{colour} dot" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>'


def _unbroken(points: Points) -> Iterator[list[tuple[int, float]]]:
    """The stretches between values that are not finite."""
    part: list[tuple[int, float]] = []
    for step, value in points:
        if math.isfinite(value):
            part.append((step, value))
        elif part:
            yield part
            part = []
    if part:
        yield part


def _legend(series: Mapping[str, Points]) -> str:
    if len(series) < 2:
        return ""
    names = enumerate(series)
    return "".join(f' <span class="key key-{number % COLOURS}">{escape(name)}</span>' for number, name in names)
