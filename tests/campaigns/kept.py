"""The rounds of a kill campaign, a line of JSON each, so that one that was ended goes on where it was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaigns.timeline import Death, Leg

if TYPE_CHECKING:
    from tests.campaigns.kills import Round


def lines(file: Path) -> list[dict[str, Any]]:
    """The fields of every round kept so far; a last line that was cut short is none."""
    text = file.read_text() if file.exists() else ""
    return [_fields(json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def keeping(rounds: Iterable[Round], file: Path) -> Iterator[Round]:
    """Write each round down as it ends."""
    whole = file.read_bytes().rpartition(b"\n")[0] + b"\n" if file.exists() and file.stat().st_size else b""
    file.write_bytes(whole.lstrip())
    for each in rounds:
        with file.open("a") as kept:
            kept.write(json.dumps(dataclasses.asdict(each), default=sorted) + "\n")
        yield each


def _fields(kept: dict[str, Any]) -> dict[str, Any]:
    deaths = [Death(**death) for death in kept.pop("deaths")]
    legs = [
        Leg(**{**leg, "agents": frozenset(leg["agents"]), "steps": tuple(leg["steps"])}) for leg in kept.pop("legs")
    ]
    return {**kept, "deaths": deaths, "legs": legs}
