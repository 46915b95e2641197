"""Events and numbers of a run in words; the same words in a log, above the bar and in a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher.errors import counted, printable
from launcher.store import RunRecord

Event = Mapping[str, Any]

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


def sentences(event: Event) -> Iterator[str]:
    """The lines that tell of an event; none for events that only a bar shows."""
    teller = _TELLERS.get(str(event.get("event")))
    if teller is not None:
        yield from teller(event)


def position(event: Event) -> str:
    """Of a progress event: `epoch 2 · step 120/300 · loss 0.4321 · 85.2 steps/s · 0:02 left`."""
    step = f"step {steps(event['step'], event.get('total_steps'))}"
    return " · ".join([f"epoch {event['epoch']}", step, *pace(event)])


def pace(event: Event) -> Iterator[str]:
    """Loss, speed and time left, where they are known."""
    rate, total = event.get("steps_per_second"), event.get("total_steps")
    if "loss" in event:
        yield f"loss {number(event['loss'])}"
    if rate:
        yield f"{number(rate, 3)} steps/s"
    if rate and total:
        yield f"{duration((total - event['step']) / rate)} left"


def shows_progress(event: Event) -> bool:
    """Whether the event says how far the run is. Every rank tells; all are at one step, and rank 0 speaks for them."""
    return event.get("event") == "progress" and event.get("rank", 0) == 0


def steps(step: int, total: int | None) -> str:
    return f"{step}/{total}" if total else str(step)


def metrics(record: RunRecord) -> str:
    return figures(record.metrics)


def figures(values: Mapping[str, Any]) -> str:
    return " · ".join(f"{printable(name)} {number(value)}" for name, value in values.items())


def number(value: Any, digits: int = 4) -> str:
    """A figure as people read it; None stands for one that JSON cannot say, an infinity or no number at all."""
    if value is None:
        return "not finite"
    return f"{value:.{digits}g}" if isinstance(value, int | float) else printable(str(value))


def duration(seconds: float) -> str:
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def clean_lines(text: str) -> list[str]:
    """What a program wrote, without colours and cursor movements; of a line drawn over and over, its last state."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _ESCAPES.sub("", text).split("\n"))
    return [printable(line.expandtabs()) for line in lines]


def _attempt(event: Event) -> Iterator[str]:
    ordinal = "" if event["attempt"] == 1 else f", attempt {event['attempt']}"
    where = f"{counted(event['world_size'], 'process')} on {counted(event['nodes'], 'node')}"
    yield f"{event['run_id']}{ordinal}: {where} · {event['device']} · {event['precision']}"
    for choice, reason in event.get("reasons", {}).items():
        yield f"  {choice} = {reason}"
    if event.get("resume_from"):
        yield f"  goes on from {event['resume_from']}"
    yield f"  run folder {event['run_dir']}"


def _retrying(event: Event) -> Iterator[str]:
    cause = (event.get("cause") or {}).get("message", "it failed")
    delay = f" in {number(event['delay'])} s" if event.get("delay") else ""
    yield f"failed: {clean_lines(str(cause))[0]}; trying again{delay}, attempt {event['attempt']}"
    if event.get("reason"):
        yield f"  {clean_lines(str(event['reason']))[0]}"


def _stopping(event: Event) -> Iterator[str]:
    yield f"stopping: the ranks save at the next step, within {number(event['grace'])} s; Ctrl-C again does not wait"


def _log(event: Event) -> Iterator[str]:
    yield from clean_lines(str(event["text"]).removesuffix("\n"))


def _submitted(event: Event) -> Iterator[str]:
    yield f"handed to {event['backend']} as job {event['job']}"


_TELLERS: dict[str, Callable[[Event], Iterator[str]]] = {
    "attempt": _attempt,
    "submitted": _submitted,
    "requeued": lambda event: iter([f"job {event['job']} waits for its next turn: {event['reason']}"]),
    "retrying": _retrying,
    "stopping": _stopping,
    "log": _log,
    "resumed": lambda event: iter([f"resumed at step {event['step']} from {event['name']}"]),
    "validated": lambda event: iter([f"validated at step {event['step']}: {figures(event['metrics'])}"]),
    "pruned": lambda event: iter([f"pruned at step {event['step']}: {figures({event['metric']: event['value']})}"]),
    "checkpoint": lambda event: iter([f"saved {event['name']}"]),
    "hang": lambda event: (f"hang: {line}" for line in clean_lines(str(event["text"]))),
    "warning": lambda event: (f"warning: {line}" for line in clean_lines(str(event["text"]))),
}
