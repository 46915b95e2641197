"""The figures of `launcher bench` in lines and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from launcher.errors import counted, printable
from launcher.timing import Difference, Figures, Lever, Report, Spread, verdict

INPUT_BOUND = 1.05
"""So much quicker with synthetic data, the steps wait for the real ones."""
BUSY = 0.3
"""With so many processes for each core as the bench began, its steps had to share them."""


def lines(report: Report) -> Iterator[str]:
    """All of a report."""
    figures = report.figures
    place = f"{counted(report.processes, 'process')} on {report.device}, {counted(report.threads, 'thread')} each"
    yield f"{printable(report.job)} · {report.kind} · {place} · {report.precision} · batch {report.batch_size}"
    rounds = figures.step.rounds
    yield f"{counted(report.steps, 'step')} after {report.warmup}, {counted(len(rounds), 'run')}, {figures.clock} clock"
    if report.load is not None and report.load >= BUSY:
        yield f"busy: {report.load:g} processes wanted each core as the bench began; close them, or take more --rounds"
    yield ""
    yield from _table(("", "median", "p95", "share", "from run to run"), _phases(figures))
    yield from (f"{name}: not seen: {why}" for name, why in figures.unseen.items())
    yield ""
    yield from _rates(figures)
    if report.synthetic:
        yield from _bound(figures, report.synthetic)
    if report.levers:
        yield ""
        rows = [_lever(lever, figures.step) for lever in report.levers]
        yield from _table(("set otherwise", "now", "step", "ratio", "", "memory"), rows)


def compared(differences: Sequence[Difference], not_alike: Iterable[str]) -> Iterator[str]:
    """Two reports side by side."""
    yield from (f"not measured alike · {printable(each)}" for each in not_alike)
    rows = [(each.name, _time(each.before), _time(each.after), *_judged(each)) for each in differences]
    yield from _table(("", "A", "B", "B / A", "noise", ""), rows)


def _judged(difference: Difference) -> tuple[str, str, str]:
    return f"{difference.ratio:.3f}", f"± {100 * difference.noise:.0f} %", difference.verdict


def _phases(figures: Figures) -> Iterator[tuple[str, ...]]:
    yield ("step", _time(figures.step.median), _time(figures.step.p95), "", _range(figures.step))
    for name, spread in figures.phases.items():
        share = f"{100 * spread.mean / figures.step.mean:.0f} %"
        yield (f"  {name}", _time(spread.median), _time(spread.p95), share, _range(spread))


def _rates(figures: Figures) -> Iterator[str]:
    if figures.samples_per_second:
        yield f"samples/s        {figures.samples_per_second:,.0f}"
    if figures.tokens_per_second:
        yield f"tokens/s         {figures.tokens_per_second:,.0f}"
    if figures.utilization and figures.flops_per_step and figures.peak_flops:
        reached = figures.flops_per_step / figures.step.median / 1e9
        ceiling = f"{reached:,.1f} of the {figures.peak_flops / 1e9:,.1f} GFLOP/s of a product of matrices here"
        yield f"MFU              {100 * figures.utilization:.1f} %: {ceiling}"
    yield f"peak memory      {_memory(figures.peak_memory)}"
    if figures.save_first is not None:
        later = "" if figures.save_later is None else f"; a later one {_time(figures.save_later)}"
        yield f"checkpoint stall {_time(figures.save_first)} by the first save{later}"


def _bound(real: Figures, synthetic: Figures) -> Iterator[str]:
    ratio = real.step.median / synthetic.step.median
    told = (
        f"with one batch again and again a step takes {_time(synthetic.step.median)}, with the data {ratio:.2f} of that"
    )
    noise = max(real.step.noise, synthetic.step.noise)
    if abs(ratio - 1) <= noise:
        yield f"no difference within ± {100 * noise:.0f} %: {told}"
    elif ratio > INPUT_BOUND:
        yield f"input-bound: {told}; loader.workers and loader.prefetch may help"
    else:
        yield f"compute-bound: {told}"


def _lever(lever: Lever, base: Spread) -> tuple[str, ...]:
    setting = f"{lever.key}={lever.value}"
    if lever.step is None or lever.ratio is None:
        return (setting, lever.now, "–", "–", printable(f"failed: {lever.failed}"), "")
    told = verdict(lever.ratio, max(lever.step.noise, base.noise))
    return (setting, lever.now, _time(lever.step.median), f"{lever.ratio:.2f}", told, _memory(lever.peak_memory or 0))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    for row in everything:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _range(spread: Spread) -> str:
    return f"{_time(min(spread.rounds))} – {_time(max(spread.rounds))}" if len(spread.rounds) > 1 else ""


def _time(seconds: float) -> str:
    """In the unit in which it is a number between one and a thousand."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def _memory(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
