"""Reads a sweep file: every fault at once, each with its place, in the file or in what the job makes of a value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from launcher import jobfile, target
from launcher.errors import RequestError, nearest
from launcher.jobfile.rules import Findings, is_name, sounds_larger
from launcher.jobfile.source import KeyPath
from launcher.jobfile.wording import every_key, keys, section_of, shown
from launcher.spec import JobSpec
from launcher.sweep.spec import MOST_TRIALS, DimensionKind, SweepSpec, dimension
from launcher.sweep.storage import has_secret

KINDS = get_args(DimensionKind)
WORDS = (*KINDS, "log", "step")
NOT_A_TRIALS = frozenset({"name", "backend", "checkpoint.resume"})
"""Keys that all trials of a sweep have in common."""
ALONE = ("ssh", "docker")
"""Backends whose machines nobody shares out among trials."""


class Job:
    """What a sweep file is checked against."""

    def __init__(self, text: bytes, path: Path, overrides: Sequence[str]) -> None:
        self.spec = jobfile.parse(text, source=str(path), overrides=overrides)
        target.check(self.spec.task, path)
        self._text, self._source, self._overrides = text, str(path), overrides
        self._arguments = target.arguments(self.spec.task, path)
        self.keys = [
            *every_key(JobSpec),
            *(f"task.args.{name}" for name in sorted(self._arguments or self.spec.task.args)),
        ]

    def knows(self, key: str) -> bool:
        """Whether the job file, or the target that takes its arguments, has such a key."""
        section: type | None = JobSpec
        annotation: Any = None
        words = key.split(".")
        for depth, word in enumerate(words):
            if section is None:  # below a key whose own keys are free
                args = words[:depth] == ["task", "args"]
                return getattr(annotation, "__origin__", None) is dict and (
                    not args or self._arguments is None or word in self._arguments
                )
            if word not in keys(section):
                return False
            annotation = keys(section)[word]
            section = section_of(annotation)
        return True

    def misfit(self, key: str, value: Any) -> str | None:
        """What is wrong with the job when the key has this value."""
        setting = f"{key}={json.dumps(value)}"
        try:
            jobfile.parse(self._text, source=self._source, overrides=[*self._overrides, setting])
        except RequestError as error:
            return error.message.splitlines()[-1].strip().removeprefix(f"--set {setting}: ")
        return None


def read(text: bytes, source: str, job: Job) -> SweepSpec:
    """The sweep that the text describes, over this job. Raises RequestError with all faults."""
    return jobfile.read_as(SweepSpec, lambda data: _findings(data, job), text, source=source)


def _findings(data: Mapping[str, Any], job: Job) -> Findings:
    metric, space = data.get("metric"), data.get("space")
    if isinstance(metric, str):
        if not is_name(metric):
            yield ("metric",), f"{shown(metric)} is not the name of a metric"
        elif data.get("mode") is None and sounds_larger(metric):
            yield ("metric",), f"mode is missing, and {shown(metric)} sounds as if larger were better; write mode: max"
    if data.get("trials") is None and data.get("sampler") != "grid":
        yield ("trials",), "missing; say how many (only a grid knows it by itself)"
    if job.spec.backend in ALONE and data.get("parallel") not in (None, 1):
        yield ("parallel",), f"trials of backend {job.spec.backend} would share its machines; write parallel: 1"
    if isinstance(data.get("storage"), str) and has_secret(data["storage"]):
        remedy = "write storage: env:SWEEP_STORAGE, and export SWEEP_STORAGE=… with the URL"
        yield ("storage",), f"a password in it would lie in the sweep's folder, which keeps this file; {remedy}"
    if space == {}:
        yield ("space",), "there is nothing to vary; write a key of the job file: `training.seed: {int: [1, 5]}`"
    whole = isinstance(space, dict)
    for key, described in space.items() if isinstance(space, dict) else ():
        faults = list(_dimension_faults(key, described, data.get("sampler"), job))
        yield from ((("space", key, *path), message) for path, message in faults)
        whole = whole and not faults
    if whole and data.get("sampler") == "grid":
        points = math.prod(dimension(described).size for described in data["space"].values())
        if points > MOST_TRIALS:
            yield ("space",), f"the grid has {points:,} points; a sweep may have {MOST_TRIALS:,}"


def _dimension_faults(key: str, described: Any, sampler: Any, job: Job) -> Iterator[tuple[KeyPath, str]]:
    if key in NOT_A_TRIALS:
        yield (), "all trials have this in common; set it in the job file or by --set"
        return
    if not job.knows(key):
        yield (), f"the job has no such key{nearest(key, job.keys)}"
        return
    shape = list(_shape_faults(described, sampler))
    yield from shape
    if not shape:
        kind = dimension(described).kind
        for value in dimension(described).ends:
            if misfit := job.misfit(key, value):
                yield (kind,), misfit if misfit.startswith(shown(value)) else f"{shown(value)}: {misfit}"
                return


def _shape_faults(described: Any, sampler: Any) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(described, dict):
        forms = "{float: [low, high]}, {int: [low, high]} or {choice: [a, b]}"
        yield (), f"{shown(described)} is not a range; write {forms}"
        return
    for word in described:
        if word not in WORDS:
            yield (word,), f"there is no such key; the keys here are {', '.join(WORDS)}{nearest(word, WORDS)}"
    given = [kind for kind in KINDS if kind in described]
    if len(given) != 1:
        yield (), f"says {' and '.join(given) or 'none'} of float, int and choice; give one of them"
    elif given == ["choice"]:
        yield from _choice_faults(described, sampler)
    else:
        yield from _range_faults(given[0], described, sampler)


def _choice_faults(described: Mapping[str, Any], sampler: Any) -> Iterator[tuple[KeyPath, str]]:
    choices = described["choice"]
    if not isinstance(choices, list) or not choices:
        yield ("choice",), f"{shown(choices)} is not a list of values"
    elif any(choice in choices[:place] for place, choice in enumerate(choices)):
        yield ("choice",), "a value is given twice"
    elif sampler == "cmaes":
        yield ("choice",), "cmaes varies numbers only; write a range, or sampler: tpe"
    for word in ("log", "step"):
        if word in described:
            yield (word,), "goes with a range, not with a choice"


def _range_faults(kind: str, described: Mapping[str, Any], sampler: Any) -> Iterator[tuple[KeyPath, str]]:
    ends, log = described[kind], described.get("log", False)
    step: Any = described.get("step")
    if not isinstance(ends, list) or len(ends) != 2 or not all(_is_number(end, kind) for end in ends):
        yield (kind,), f"takes two {'whole ' if kind == 'int' else ''}numbers, [low, high]"
        return
    if ends[0] > ends[1]:
        yield (kind,), f"{ends[0]} is larger than {ends[1]}; write the smaller one first"
    if not isinstance(log, bool):
        yield ("log",), f"{shown(log)} is not true or false"
    elif log and ends[0] <= 0:
        yield (kind,), f"with log: true the smaller end is above 0, not {ends[0]}"
    if "step" in described and not (_is_number(step, kind) and step > 0):
        yield ("step",), f"{shown(step)} is not a {'whole ' if kind == 'int' else ''}number above 0"
    elif log and "step" in described:
        yield ("step",), "goes with equal distances, not with log: true; leave one of them out"
    if sampler == "grid" and log is True:
        yield ("log",), "a grid has equal distances; write the values as a choice"
    elif sampler == "grid" and kind == "float" and "step" not in described:
        yield (kind,), "a grid needs a step, or a choice"


def _is_number(value: Any, kind: str) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if kind == "int" else int | float)
