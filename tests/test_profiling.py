"""The page of a profile."""

from __future__ import annotations

import re

from launcher import profiling, timing
from launcher.measuring import Answer, Operation, Profile, Span, Wait
from launcher.profiling import Profiled


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
