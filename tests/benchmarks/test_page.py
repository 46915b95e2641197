"""The page of benchmarks, and the guard on what a step costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import page

ROOT = Path(__file__).parents[2]
RENEW = "python tests/benchmarks/loop.py tiny-fp32 tiny-bf16 gpt --calls --json docs/benchmarks/calls.json"


def test_the_page_shows_what_the_benchmarks_wrote() -> None:
    text = page.PAGE.read_text()
    assert page.rendered(text) == text, "python -m tests.benchmarks.page makes it anew"


@pytest.mark.parametrize("result", page.results(), ids=lambda result: result["title"].replace(" ", "-"))
def test_each_result_says_where_when_and_how(result: page.Result) -> None:
    assert result["command"].startswith("python tests/benchmarks/")
    assert all(result[name] for name in ("date", "hardware", "versions", "rows"))
    assert len({tuple(row) for row in result["rows"]}) == 1


def test_a_step_makes_no_more_calls_of_launchers_own_than_the_page_says(tmp_path: Path) -> None:
    """A guard by counting: seconds would say nothing on a machine that does other things too."""
    recorded = {row["case"]: row for row in json.loads((page.RESULTS / "calls.json").read_text())["rows"]}
    argv = [sys.executable, "tests/benchmarks/loop.py", "tiny-fp32", "--calls", "--json", str(tmp_path / "calls.json")]
    subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    (counted,) = json.loads((tmp_path / "calls.json").read_text())["rows"]
    most = recorded["tiny-fp32"]["launcher's own"]
    assert counted["launcher's own"] <= most, f"if it has to be so: {RENEW}"
