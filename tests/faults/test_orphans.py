"""An attempt that was stopped at any file call and goes on when its successor has begun does no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from launcher import checkpoints
from launcher.manifest import read
from tests.faults.calls import CHANGES, FIRST, Bench, Trial, aftermath
from tests.faults.trainee import train

Make = Callable[..., Bench]
SUCCESSOR = 3


def campaign(bench: Bench) -> Iterator[tuple[str, str | None]]:
    """Stop the attempt at each call, let a successor resume and save, let it go on; and what was wrong at the end."""
    calls = [call for call in bench.calls("plain") if call.name != "saved"]
    for at, call in enumerate(calls, 1):
        if call.name in CHANGES or call.path.endswith("/attempt"):
            before = bench.run(Trial("plain", "stop", at))
            root, saved = checkpoints.folder(bench.run_dir), list[int]()
            stood = [read(root / name).step for name in checkpoints.names(root)]
            train(bench.run_dir, attempt=SUCCESSOR, until=FIRST + 4, said=saved.append)
            after = bench.ask({})
            yield f"plain:stop:{at}", _wrong(bench, stood, after, [FIRST, *before["saved"], *saved])


def _wrong(bench: Bench, stood: list[int], after: dict[str, Any], saved: list[int]) -> str | None:
    if after["status"] not in (0, 1):
        return f"the orphan ended with {after['status']}: {bench.said()}"
    if too_late := set(after["saved"]) - set(stood):
        return f"the orphan saved {too_late} when its successor had begun"
    return aftermath(bench.run_dir, saved)


def test_an_orphan_stopped_at_any_call_does_no_harm(bench: Make) -> None:
    results = list(campaign(bench()))
    assert [(trial, wrong) for trial, wrong in results if wrong] == []
    assert len(results) > 40


def test_the_campaign_finds_a_missing_fence(bench: Make) -> None:
    assert any(wrong for _, wrong in campaign(bench(defect="no_fence")))
