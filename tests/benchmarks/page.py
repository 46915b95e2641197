"""The figures of docs/benchmarks.md, out of the JSON that the benchmarks wrote: `python -m tests.benchmarks.page`.

The JSON lies in docs/benchmarks/; a test holds the page against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.pages import made

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RESULTS = DOCS / "benchmarks.md", DOCS / "benchmarks"

Result = Mapping[str, Any]


def rendered(page: str) -> str:
    """The page with its figures made anew."""
    lines = (line for result in results() for line in _part(result))
    return made.refilled(page, "tests/benchmarks/page.py", lines)


def results() -> list[Result]:
    """In the order of their files' names."""
    return [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]


def _part(result: Result) -> Iterator[str]:
    yield f"## {result['title']}"
    yield ""
    heads = list(result["rows"][0])
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in result["rows"]:
        yield f"| {' | '.join(_cell(row[head]) for head in heads)} |"
    place = [f"{name} {value}" for name, value in (*result["hardware"].items(), *result["versions"].items())]
    yield ""
    yield " · ".join([f"`{result['command']}`", result["date"], *place, f"load {result['load']}"])
    yield ""


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " – ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
