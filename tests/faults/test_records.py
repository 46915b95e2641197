"""Whatever a file call meets, or when the power goes: a run that was made goes on, and its verdict stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import records
from tests.faults.calls import Bench

Make = Callable[..., Bench]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_failure_of_every_call_of_a_record_is_survived(bench: Make) -> None:
    results = list(records.failures(bench()))
    assert [(trial, wrong) for trial, wrong in results if wrong] == []
    assert len(results) > 200


@pytest.mark.timeout(600)
def test_no_power_cut_loses_a_run_that_was_made_or_its_verdict(bench: Make) -> None:
    results = list(records.power_cuts(bench()))
    assert [(trial, wrong) for trial, wrong in results if wrong] == []
    assert len(results) > 50


def test_the_campaign_finds_a_verdict_written_in_place(bench: Make) -> None:
    made = bench(defect="verdict_in_place")
    assert any(wrong for _, wrong in records.failures(made))


def test_the_campaign_finds_a_folder_that_is_not_synced(bench: Make) -> None:
    made = bench(defect="no_sync_of_folders")
    assert any(wrong for _, wrong in records.power_cuts(made))
