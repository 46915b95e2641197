"""A run's history as its folder tells it: curves by step, what it used, what happened, what it saved, where it ran."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launcher import checkpoints, ledger, manifest, readback, store
from launcher.store import RunFolder

Points = tuple[tuple[int, float], ...]
"""A value by step; not a number where the run logged one that is not finite."""

NOTABLE = ("attempt", "resumed", "warning", "retrying", "stopping", "pruned", "finished")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint that stands."""

    name: str
    step: int
    size: int | None
    """Bytes; None where its manifest cannot be read."""
    protected: bool


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine that took part."""

    rank: int
    host: str
    about: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class History:
    curves: Mapping[str, Points]
    """The loss of every step, the logged scalars, and a validation's values as `validation/…`."""
    use: Mapping[str, Points]
    """Steps a second, and the memory and GPU time of each rank."""
    events: tuple[Mapping[str, Any], ...]
    """What happened, the notable part."""
    checkpoints: tuple[Saved, ...]
    nodes: tuple[Node, ...]


def read(folder: RunFolder) -> History:
    """Whatever of it can be read; a damaged part is left out."""
    events = list(store.events(folder))
    return History(
        curves=curves(folder),
        use=_use(events),
        events=tuple(event for event in events if event.get("event") in NOTABLE),
        checkpoints=tuple(_saved(folder)),
        nodes=tuple(nodes(folder)),
    )


def curves(folder: RunFolder) -> dict[str, Points]:
    """Values by step, by name; the later of two lines about one step counts."""
    found: dict[str, dict[int, float]] = {}
    for number, entry in ledger.read(folder.ledger).steps.items():
        found.setdefault("loss", {})[number] = float.fromhex(entry.loss)
    for line in readback.json_lines(folder.metrics):
        step: Any = line.get("step")
        for name, value in _values(line):
            if isinstance(step, int) and (name != "loss" or not folder.ledger.exists()):
                found.setdefault(name, {})[step] = value
    return {name: tuple(sorted(points.items())) for name, points in found.items()}


def newest_use(folder: RunFolder) -> dict[str, Mapping[str, Any]]:
    """What each rank told of itself last, by its number."""
    ranks: dict[str, Mapping[str, Any]] = {}
    for event in store.events(folder):
        if event.get("event") == "attempt":
            ranks = {}
        elif event.get("event") == "progress" and isinstance(event.get("ranks"), dict):
            ranks = {str(rank): use for rank, use in event["ranks"].items() if isinstance(use, dict)}
    return ranks


def nodes(folder: RunFolder) -> Iterator[Node]:
    """The machines that took part, by their facts."""
    rank = 0
    while (facts := readback.json_object_or_none(folder.node_facts(rank))) is not None:
        yield Node(rank=rank, host=str(facts.get("host", "")), about=dict(_about(facts)))
        rank += 1


def _values(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    validation = line.get("validation")
    named = [(name, line[name]) for name in line if name not in ("step", "epoch", "validation")]
    named += [(f"validation/{name}", value) for name, value in (validation or {}).items()]
    for name, value in named:
        if value is None or isinstance(value, int | float):
            yield name, math.nan if value is None else float(value)


def _use(events: list[dict[str, Any]]) -> dict[str, Points]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        step = event.get("step")
        if event.get("event") != "progress" or not isinstance(step, int):
            continue
        rate = event.get("steps_per_second")
        if isinstance(rate, int | float) and rate > 0:  # a process's first word knows none yet
            found.setdefault("steps a second", []).append((step, float(rate)))
        for rank, use in (event.get("ranks") or {}).items():
            for key, (label, unit) in _USES.items():
                if isinstance(use.get(key), int | float):
                    found.setdefault(f"rank {rank}: {label}", []).append((step, use[key] / unit))
    return {name: tuple(points) for name, points in found.items()}


_USES = {"memory": ("memory, MB", 1e6), "gpu_memory": ("GPU memory, MB", 1e6), "gpu_busy": ("GPU busy, %", 0.01)}


def _saved(folder: RunFolder) -> Iterator[Saved]:
    for name in reversed(checkpoints.names(folder.checkpoints)):
        step = manifest.step_of(name) or 0
        try:
            about = manifest.read(folder.checkpoints / name)
        except manifest.Damaged:
            yield Saved(name=name, step=step, size=None, protected=False)
            continue
        size = sum(file.size for file in about.files.values())
        yield Saved(name=name, step=step, size=size, protected=about.protected)


def _about(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    sections = facts.get("sections")
    for label, section, key in _FACTS:
        value = ((sections if isinstance(sections, dict) else {}).get(section) or {}).get(key)
        if value not in (None, ""):
            yield label, str(value)
    devices = ((sections or {}).get("gpus") or {}).get("devices") or []
    if devices:
        yield "GPUs", ", ".join(str(each.get("name")) for each in devices if isinstance(each, dict))


_FACTS = (
    ("system", "host", "system"),
    ("kernel", "host", "kernel"),
    ("cores", "host", "cpus"),
    ("driver", "gpus", "driver"),
    ("python", "python", "version"),
    ("torch", "torch", "version"),
    ("CUDA", "torch", "cuda"),
)
