"""A check keeps quiet where only half of its condition holds, and says UNKNOWN where it cannot tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from envcheck.check import REGISTRY, judge
from tests.envcheck.bench import Bench
from tests.envcheck.quiet import QUIET, Quiet


@pytest.mark.parametrize("quiet", QUIET, ids=str)
def test_a_check_keeps_quiet(quiet: Quiet, tmp_path: Path) -> None:
    result = judge(quiet.facts(Bench(tmp_path)), [REGISTRY[quiet.check]])[0]
    assert result.status is quiet.status, result
    assert "the check itself failed" not in result.saw
