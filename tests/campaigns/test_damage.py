"""A short damage campaign, and proof that it sees a check that is missing."""

from pathlib import Path

import pytest

from launcher import durable, manifest
from tests.campaigns import damage


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "LARGE", 3 * damage.PAGE)
    monkeypatch.setattr(durable, "sync_folder", lambda path: None)


def test_every_sort_of_damage_is_met_by_the_checkpoint_before(tmp_path: Path) -> None:
    done = list(damage.at_random(tmp_path, 1, range(40)))
    assert [wrong for _, _, wrong in done if wrong] == []
    assert {kind for _, kind, _ in done} == set(damage.DAMAGE)


def test_a_digest_that_is_not_compared_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "check", lambda *args: None)
    assert any(wrong for _, _, wrong in damage.at_random(tmp_path, 1, range(12)))
