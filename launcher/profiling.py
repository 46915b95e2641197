"""Profiles a user's own job: one ordinary run a few steps long, of which rank 0 is looked at; and the page of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from launcher import bench, timing, typed
from launcher.errors import JobFailed, RequestError
from launcher.journal import Listener
from launcher.measuring import Answer, Profile, Request, Span
from launcher.readback import json_object
from launcher.report.page import PALETTE, facts, page, section, table
from launcher.store import RunFolder
from launcher.timing import Figures

LANES = ("phases", "operators", "GPU")
LANE_HEIGHT, WIDTH = 30, 1000


@dataclass(frozen=True)
class Profiled:
    """What came of it."""

    job: str
    profile: Profile
    figures: Figures

    @property
    def gap(self) -> float:
        """The share of the time in which nothing was computed."""
        return 1 - self.profile.busy / self.profile.seconds if self.profile.seconds else 0.0


def profile(
    job_path: Path, overrides: Sequence[str], request: Request, *, runs_dir: Path, trace: Path, listener: Listener
) -> Profiled:
    """Run the job for as many steps as are asked for, and leave the trace (gzip) at `trace`.

    Raises what a run raises before it starts, bench.Ended where it fails, Interrupted where it is stopped,
    and RequestError where `trace` cannot be written: then the run is kept.
    """
    found: list[Profile] = []

    def take(folder: RunFolder) -> list[Answer]:
        try:
            found.append(typed.read(Profile, json_object(folder.profile)))
            folder.trace.stat()
        except (OSError, ValueError) as error:
            raise JobFailed(f"rank 0 left no profile ({error})", hint="launcher run says how the job ends") from error
        try:
            shutil.copyfile(folder.trace, trace)
        except OSError as error:
            raise RequestError(
                f"{trace}: the trace cannot be written ({error.strerror})", hint=f"it is kept as {folder.trace}"
            ) from error
        return bench.answers(folder)

    plan = bench.planned(job_path, overrides, runs_dir)
    variant = bench.Variant(bench.AS_IT_IS, tuple(overrides), request)
    with bench.own_folder(runs_dir):
        ranks = bench.measured(job_path, plan, variant, runs_dir, listener, take=take)
    return Profiled(plan.spec.name, found[0], timing.fold([ranks]))


def html(profiled: Profiled) -> str:
    """One page that asks nothing of any network."""
    seen, figures = profiled.profile, profiled.figures
    head = [
        ("steps", f"{seen.steps}, {seen.seconds / max(1, seen.steps) * 1e3:.2f} ms each under the profiler"),
        (seen.busy_what, f"{100 * (1 - profiled.gap):.0f} % of the time; gaps {100 * profiled.gap:.0f} %"),
    ]
    phases = [
        (name, _ms(each.median), f"{100 * each.mean / figures.step.mean:.0f} %")
        for name, each in figures.phases.items()
    ]
    return page(
        f"{profiled.job}: profile of a step",
        [
            section("Over all", facts(head)),
            section("Phases", table(("phase", "ms", "share"), phases) + facts(figures.unseen.items())),
            section("The last step", _timeline(seen.spans)),
            section("Where it waits", table(("wait", "phase", "times a step", "ms a step"), _waits(seen))),
            section("Operators", table(("operator", "calls a step", "own ms", "with callees", "GPU ms"), _tops(seen))),
        ],
    )


def _waits(seen: Profile) -> Iterator[tuple[str, ...]]:
    for wait in seen.waits:
        yield wait.name, wait.phase, f"{wait.calls / seen.steps:.1f}", _ms(wait.seconds / seen.steps)


def _tops(seen: Profile) -> Iterator[tuple[str, ...]]:
    for each in seen.operations:
        times = (each.own, each.whole, each.on_device)
        yield each.name, f"{each.calls / seen.steps:.1f}", *(_ms(seconds / seen.steps) for seconds in times)


def _timeline(spans: Sequence[Span]) -> str:
    """A lane for each of phases, operators and kernels; a name shows where the pointer rests."""
    lanes = [lane for lane in LANES if any(span.lane == lane for span in spans)]
    whole = max((span.end for span in spans), default=0.0)
    if not lanes or whole <= 0:
        return ""
    names = sorted({span.name for span in spans})
    boxes = []
    for span in sorted(spans, key=lambda span: span.begin):
        left, width = WIDTH * span.begin / whole, max(0.5, WIDTH * (span.end - span.begin) / whole)
        top = LANE_HEIGHT * lanes.index(span.lane) + 14
        colour = PALETTE[names.index(span.name) % len(PALETTE)]
        told = escape(f"{span.name} {_ms(span.end - span.begin)} ms")
        box = f'x="{left:.2f}" y="{top}" width="{width:.2f}" height="14" fill="{colour}"'
        boxes.append(f"<rect {box}><title>{told}</title></rect>")
    labels = "".join(f'<text x="0" y="{LANE_HEIGHT * row + 10}">{lane}</text>' for row, lane in enumerate(lanes))
    size = f"0 0 {WIDTH} {LANE_HEIGHT * len(lanes)}"
    return f'<figure><svg viewBox="{size}" role="img">{labels}{"".join(boxes)}</svg></figure>\n'


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"
