"""Lets a run begin on its nodes, or says why not: all of them are looked at together just before each attempt."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.cluster import fitness, survey
from launcher.cluster.fitness import Fault, Words
from launcher.cluster.survey import Look, Route, Seen


def admit(
    routes: Sequence[Route],
    wanted: Look,
    *,
    shared: Sequence[Path],
    words: Words,
    tell: Callable[[Mapping[str, Any]], None],
) -> None:
    """Look, judge, and tell the warnings. `shared` are folders of this machine that every node must see.

    Raises LauncherError when a node cannot be reached or the nodes do not fit together.
    """
    hosts = [route.host for route in routes]
    nonce = secrets.token_hex(16)
    written = [folder / f".seen-{nonce[:8]}" for folder in shared]
    try:
        for path in written:
            path.write_text(nonce)
        asked = dataclasses.replace(wanted, nonces=tuple(str(path) for path in written))
        seen = survey.look(routes, asked, meet=True)
    finally:
        for path in written:
            path.unlink(missing_ok=True)
    faults = [*fitness.of_shared_folder(hosts, seen, nonce, words), *fitness.of_each(hosts, seen, words)]
    faults += [*fitness.of_all(hosts, seen, words), *_strays(hosts, seen)]
    for warning in fitness.require(faults):
        tell({"event": "warning", "text": f"{warning.message}; {warning.hint}"})


def _strays(hosts: Sequence[str], seen: Sequence[Seen]) -> list[Fault]:
    left = ((host, len(one["ended"])) for host, one in zip(hosts, seen, strict=True))
    return [
        Fault(f"{host}: {number} processes of an earlier attempt", "they were ended", fatal=False)
        for host, number in left
        if number
    ]
