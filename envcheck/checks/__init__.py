"""The table of families in the order they are reported; each is one module of checks or several."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from envcheck.check import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcheck.check import Check

FAMILIES: dict[str, tuple[str, ...]] = {
    "driver": ("driver", "driver_visibility"),
    "gpu": ("gpu", "gpu_links"),
    "libraries": ("libraries", "libraries_loaded", "libraries_system"),
    "container": ("container", "container_resources"),
    "network": ("network", "network_cards"),
    "storage": ("storage",),
    "variables": ("variables",),
    "determinism": ("determinism",),
    "job": ("job",),
    "collective": ("collective",),
    "cluster": ("cluster", "cluster_agreement"),
}


class UnknownSelection(ValueError):
    """Something was selected that is neither a family nor a check's id; the message names the nearest."""


def every_check() -> list[Check]:
    """All checks, family by family and by id."""
    for modules in FAMILIES.values():
        for module in modules:
            importlib.import_module(f"envcheck.checks.{module}")
    order = list(FAMILIES)
    return sorted(REGISTRY.values(), key=lambda one: (order.index(one.family), one.id))


def select(words: Iterable[str]) -> list[Check]:
    """The checks whose id or family is named. Raises UnknownSelection for a word that names neither."""
    checks = every_check()
    chosen: set[str] = set()
    for word in words:
        named = {one.id for one in checks if word.upper() == one.id or word.lower() == one.family}
        if not named:
            raise UnknownSelection(_no_such(word, checks))
        chosen |= named
    return [one for one in checks if one.id in chosen]


def _no_such(word: str, checks: list[Check]) -> str:
    names = [*FAMILIES, *(one.id for one in checks)]
    near = difflib.get_close_matches(word, names, 1, 0.5) or difflib.get_close_matches(word.upper(), names, 1, 0.5)
    return f"no check or family is called {word!r}" + (f"; did you mean {near[0]}?" if near else "")
