"""The figures of docs/campaigns.md, out of the JSON that the campaigns wrote: `python -m tests.campaigns.page`.

The JSON lies in docs/campaigns/; a test holds the page against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.pages import made

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RESULTS = DOCS / "campaigns.md", DOCS / "campaigns"

Report = Mapping[str, Any]


def rendered(page: str) -> str:
    """The page with its figures made anew."""
    lines = (line for name, tell in TELLERS.items() for line in tell(_read(name)))
    return made.refilled(page, "tests/campaigns/page.py", lines)


def _kills(report: Report) -> Iterator[str]:
    ours, kinds = report["launcher"], ", ".join(f"{count} {kind}" for kind, count in report["kinds"].items())
    yield f"**Kills**, seed {report['seed']}: {ours['kills']} kills in {ours['runs']} runs ({kinds});"
    yield f"{ours['failed']} failed; at most {ours['most steps lost']} steps were lost by a kill, saving every 3."
    yield ""
    yield "| from a death to the next training step, seconds | times | p50 | p99 | worst |"
    yield "|---|---|---|---|---|"
    for name, told in (("warm", "on warm nodes"), ("cold", "cold: another launcher, node program or agent")):
        at = report["seconds to the next step"][name]
        values = [at.get(key, "–") for key in ("p50", "p99", "worst")]
        yield f"| {told} | {len(report['returns'][name])} | {' | '.join(map(str, values))} |"
    theirs = report["torchrun"]
    if theirs["kills"]:
        values = [str(theirs.get(key, "–")) for key in ("p50", "p99", "worst")]
        told = f"torchrun's own restart beside it, hung {theirs['hung']} times"
        yield f"| {told} | {theirs['kills']} | {' | '.join(values)} |"
    yield from _failures(report)
    yield ""


def _failures(report: Report) -> Iterator[str]:
    for each in report["faults"]:
        yield ""
        yield f"Failed: {'; '.join(each['faults'])} (`{each['repeat']}`)"


def _damage(report: Report) -> Iterator[str]:
    yield f"**Damage**, seed {report['seed']}: every one of {report['every bit of a small checkpoint']} bits of a small"
    yield "checkpoint was flipped, and damage was done"
    kinds = ", ".join(f"{count} × {kind}" for kind, count in report["by kind"].items())
    yield f"{report['random damage to a larger one']} times to a larger one ({kinds});"
    yield f"{report['not noticed, or not named']} were not noticed, or not named."


def _restarts(report: Report) -> Iterator[str]:
    kill, hang, limit = report["kill"], report["hang"], report["hang.seconds"]
    yield f"**Restarts** on warm nodes, seed {report['seed']}: {_times(kill)} from a rank's death to"
    yield "the next training step;"
    yield f"{_times(hang)} from a rank's last sign of life, with `hang.seconds: {limit:g}`."
    yield ""


def _times(spread: Report) -> str:
    return f"p50 {spread['p50']} s, p99 {spread['p99']} s, worst {spread['worst']} s ({spread['times']} times)"


TELLERS: dict[str, Callable[[Report], Iterator[str]]] = {"kills": _kills, "restarts": _restarts, "damage": _damage}


def _read(name: str) -> Report:
    report: Report = json.loads((RESULTS / f"{name}.json").read_text())
    return report


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
