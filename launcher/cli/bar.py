"""The live bar: epoch, step, loss, speed and time left; what else happens scrolls by above it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from launcher.cli.wording import pace, sentences, shows_progress, steps

STYLES = {"warning": "yellow", "retrying": "yellow", "stopping": "yellow", "attempt": "bold", "log": ""}


@contextmanager
def live_bar(console: Console | None = None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    progress = Progress(*columns, console=console, refresh_per_second=5, transient=True)
    task = progress.add_task("starting", total=None, detail="")

    def show(event: Mapping[str, Any]) -> None:
        if shows_progress(event):
            progress.update(
                task,
                description=f"epoch {event['epoch']}",
                completed=event["step"],
                total=event.get("total_steps"),
                detail=" · ".join([steps(event["step"], event.get("total_steps")), *pace(event)]),
            )
        for line in sentences(event):
            progress.console.print(Text(line, style=STYLES.get(str(event["event"]), "dim")), soft_wrap=True)

    progress.start()
    try:
        yield show
    finally:
        with suppress(OSError):  # a terminal that was closed takes no last line
            progress.stop()
