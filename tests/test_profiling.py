"""The page of a profile."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from launcher import bench, profiling, timing
from launcher.errors import JobFailed, LauncherError, RequestError
from launcher.measuring import Answer, Operation, Profile, Request, Span, Wait
from launcher.profiling import Profiled
from launcher.store import RunFolder
from tests.test_ablations import plan


def profiled(**changes: object) -> Profiled:
    seen = {
        "steps": 2,
        "seconds": 0.02,
        "busy": 0.015,
        "busy_what": "an operator of torch runs",
        "operations": (Operation(name="aten::mm", calls=8, own=0.008, whole=0.01, on_device=0.0),),
        "waits": (Wait(name="aten::item", phase="optimizer", calls=2, seconds=0.001),),
        "spans": (Span(lane="operators", name="aten::<b>", begin=0.0, end=0.01),),
        **changes,
    }
    answer = Answer(
        clock="host", steps=(0.01, 0.01), phases={"forward": (0.005, 0.005)}, unseen={}, saves=(), samples=None
    )
    return Profiled("job", Profile(**seen), timing.fold([[answer]]))  # type: ignore[arg-type]


def test_the_gap_is_what_nothing_was_computed_in() -> None:
    assert profiled().gap == 0.25


def test_the_page_asks_nothing_of_any_network() -> None:
    page = profiling.html(profiled())
    assert re.findall(r"(?:src|href|url)\s*[=(]", page) == [] and "default-src 'none'" in page


def test_the_page_tells_operators_and_waits_by_the_step() -> None:
    page = profiling.html(profiled())
    assert "<td>aten::mm</td><td>4.0</td><td>4.000</td>" in page
    assert "<td>aten::item</td><td>optimizer</td><td>1.0</td><td>0.500</td>" in page


def test_a_name_cannot_write_into_the_page() -> None:
    page = profiling.html(profiled())
    assert "<b>" not in page and "aten::&lt;b&gt;" in page


def test_a_step_without_spans_has_no_timeline() -> None:
    assert "<svg" not in profiling.html(profiled(spans=()))


@pytest.mark.parametrize(("left", "error"), [(b"", RequestError), (None, JobFailed)], ids=["left", "not-left"])
def test_a_trace_that_cannot_be_written_is_not_rank_0s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes | None, error: type[LauncherError]
) -> None:
    folder = RunFolder(tmp_path)
    for file in (folder.profile, folder.trace):
        file.parent.mkdir(parents=True, exist_ok=True)
    folder.profile.write_text(json.dumps(dataclasses.asdict(profiled().profile)))
    if left is not None:
        folder.trace.write_bytes(left)
    monkeypatch.setattr(bench, "planned", lambda *_: plan())
    monkeypatch.setattr(bench, "measured", lambda *_, take: take(folder))
    request, nowhere = Request(warmup=3, steps=2, profile=True), tmp_path / "nowhere" / "trace"
    with pytest.raises(error):
        profiling.profile(Path("a"), (), request, runs_dir=tmp_path, trace=nowhere, listener=lambda _: None)
