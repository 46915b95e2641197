"""What becomes of the runs that a bench makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher import bench, launch
from launcher.errors import Interrupted
from launcher.measuring import Request
from launcher.plan import Plan
from tests.cli.conftest import RECORD
from tests.test_ablations import plan


def measured(folder: Path, decided: Plan) -> Any:
    variant = bench.Variant(bench.AS_IT_IS, (), Request(warmup=3, steps=2))
    return bench.measured(Path("a.yaml"), decided, variant, folder, lambda _: None, take=bench.answers)


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the next run end in a state."""

    def end(state: Any) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        record = dataclasses.replace(RECORD, state=state, run_dir=str(folder))
        monkeypatch.setattr(launch, "run", lambda *_, **__: record)
        return folder

    return end


def test_one_that_is_stopped_keeps_nothing_and_says_so(ends: Any, tmp_path: Path) -> None:
    folder = ends("STOPPED")
    with pytest.raises(Interrupted, match="nothing of it is kept"):
        measured(tmp_path, plan())
    assert not folder.exists()


def test_one_that_fails_is_kept(ends: Any, tmp_path: Path) -> None:
    folder = ends("FAILED")
    with pytest.raises(bench.Ended):
        measured(tmp_path, plan())
    assert folder.exists()


def test_a_measured_run_saves_after_what_is_measured_and_mirrors_nothing() -> None:
    settings = bench._whole(plan(), bench.Variant(bench.AS_IT_IS, (), Request(warmup=3, steps=2)))
    assert {"training.steps=7", "checkpoint.every=6", "trackers={}", "retry.max=0"} <= set(settings)
