"""A sweep as one HTML file: the values by trial, each setting against them, every trial, and what was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from launcher.report.page import Cells, facts, page, section, table
from launcher.report.picture import picture, scatter
from launcher.sweep import outcome
from launcher.sweep.folder import Sweep
from launcher.sweep.outcome import Outcome, TrialRow
from launcher.sweep.spec import Dimension, dimensions


def of_sweep(sweep: Sweep) -> str:
    """The page. Raises RequestError and EnvironmentUnfit where the storage has no answer."""
    found = outcome.read(sweep)
    metric = sweep.spec.metric
    sections = [
        _summary(sweep, found),
        section("By trial", picture(metric, outcome.curves(sweep, found))),
        section(f"{metric} by setting", "".join(_scatters(sweep, found))),
        section("Trials", table(("trial", "state", metric, "step", "settings", "run"), map(_cells, found.rows))),
        section("The sweep file", f"<pre>{escape(sweep.sweep_file.decode())}</pre>"),
    ]
    return page(f"{sweep.job_spec.name} · {sweep.id}", sections)


def _summary(sweep: Sweep, found: Outcome) -> str:
    rows = [
        ("metric", f"{sweep.spec.metric}, {sweep.spec.mode}"),
        ("sampler", sweep.spec.sampler),
        ("trials", " · ".join(f"{count} {state}" for state, count in found.counts().items())),
        ("folder", str(sweep.folder)),
    ]
    if found.best is not None:
        rows.insert(0, ("best", f"{found.best.value:.6g} in trial {found.best.number}, {_settings(found.best)}"))
        rows.append(("again", outcome.command(sweep, found.best)))
    return facts(rows)


def _scatters(sweep: Sweep, found: Outcome) -> Iterator[str]:
    for key, dimension in dimensions(sweep.spec).items():
        told = [(row.settings.get(key), row.value) for row in found.rows if row.state == "complete"]
        points = [(_place(dimension, setting), value) for setting, value in told if value is not None]
        yield scatter(_axis(key, dimension), [(place, value) for place, value in points if math.isfinite(place)])


def _place(dimension: Dimension, setting: object) -> float:
    """Where on the axis a setting is: a choice by its number, one of a log scale by its power of ten."""
    if dimension.kind == "choice":
        return float(dimension.choices.index(setting)) if setting in dimension.choices else math.nan
    if not isinstance(setting, int | float):
        return math.nan
    return math.log10(setting) if dimension.log else float(setting)


def _axis(key: str, dimension: Dimension) -> str:
    if dimension.kind == "choice":
        return f"{key}: " + ", ".join(f"{place} is {choice}" for place, choice in enumerate(dimension.choices))
    return f"log10 of {key}" if dimension.log else key


def _cells(row: TrialRow) -> Cells:
    value = "" if row.value is None else f"{row.value:.6g}"
    step = "" if row.step is None else str(row.step)
    return str(row.number), row.state, value, step, row.reason or _settings(row), row.run_id or ""


def _settings(row: TrialRow) -> str:
    shown = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.settings.items()}
    return " · ".join(f"{key} {value}" for key, value in shown.items())
