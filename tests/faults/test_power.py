"""Whenever the power fails, the run resumes from a checkpoint it was told of, or from the one after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import power
from tests.faults.calls import Bench

Make = Callable[..., Bench]


@pytest.mark.parametrize("scenario", ["fresh", "plain", "spoilt"])
def test_every_power_cut_is_survived(bench: Make, scenario: str) -> None:
    results = list(power.campaign(bench(), scenario))
    assert [f"{crash}: {wrong}" for crash, wrong in results if wrong] == []
    assert len(results) > 25


@pytest.mark.parametrize(
    "defect",
    [
        "no_sync_of_files",
        "no_sync_of_folders",
        "early_word",
        "manifest_before_data",
        "delete_under_the_name",
        "removal_before_the_rename_lasts",
    ],
)
def test_the_campaign_finds_a_planted_defect(bench: Make, defect: str) -> None:
    planted = bench(defect=defect)
    results = (result for scenario in ("fresh", "plain") for result in power.campaign(planted, scenario))
    assert any(wrong for _, wrong in results)
