"""Of many cases of one test the few that each run of the tests takes; the others are for `pytest -m long`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def but(quick: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """The cases as parameters, all but the quick ones marked as long."""
    cases = list(cases)
    unknown = [case for case in quick if case not in cases]
    assert not unknown, f"no such cases, so all would be long: {unknown}"
    return [case if case in quick else pytest.param(case, marks=pytest.mark.long) for case in cases]
