"""`launcher compare`: runs side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from launcher import contrast, history, store
from launcher.cli import options, plot
from launcher.contrast import Row
from launcher.errors import RequestError, nearest, printable
from launcher.store import RunFolder

LONGEST = 44
"""Characters shown of a value."""


@click.command(epilog="Example: launcher compare latest mlp-20261122T0219 --curve validation/accuracy")
@options.run_names
@click.option("--all", "everything", is_flag=True, help="Also what is the same.")
@click.option("--curve", metavar="NAME", default="loss", show_default=True, help="Which values to draw.")
@options.as_json("Print everything as one JSON object.")
@options.runs_dir
def command(runs: tuple[str, ...], everything: bool, curve: str, as_json: bool, runs_dir: Path) -> None:
    """Show in what two or more runs differ: job, code, environment and outcome; and their curves.

    A RUN is a run id, the beginning of one, or latest.
    """
    folders = [RunFolder(store.find(runs_dir, run)) for run in runs]
    if len({folder.path for folder in folders}) < 2:
        raise RequestError("compare needs two different runs", hint="`launcher runs` lists them")
    rows = contrast.rows(folders)
    curves = [history.curves(folder) for folder in folders]
    names = sorted({name for each in curves for name in each})
    if names and curve not in names:
        raise RequestError(f"no run has a curve {curve}{nearest(curve, names)}", hint=f"there are {', '.join(names)}")
    if as_json:
        click.echo(json.dumps({"runs": [folder.path.name for folder in folders], "rows": _as_json(rows)}, indent=2))
        return
    ids = [folder.path.name for folder in folders]
    click.echo("\n".join(_table(ids, rows, everything)))
    series = {run: points[curve] for run, points in zip(ids, curves, strict=True) if curve in points}
    drawn = list(plot.lines(series, width=shutil.get_terminal_size().columns))
    if drawn:
        click.echo("\n".join(["", f"{curve} by step", *drawn]))


def _as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [{"part": row.part, "name": row.name, "values": row.values, "differs": row.differs} for row in rows]


def _table(ids: Sequence[str], rows: Sequence[Row], everything: bool) -> Iterator[str]:
    shown = [row for row in rows if everything or row.differs]
    wide = max([len(row.name) for row in shown], default=0) + 4
    columns = [
        max(len(run), *(len(_short(row.values[place])) for row in shown)) if shown else len(run)
        for place, run in enumerate(ids)
    ]
    yield " " * wide + "  ".join(run.ljust(column) for run, column in zip(ids, columns, strict=True)).rstrip()
    part = ""
    for row in shown:
        if row.part != part:
            part = row.part
            yield click.style(part, bold=True)
        cells = (_short(value).ljust(column) for value, column in zip(row.values, columns, strict=True))
        yield f"  {row.name}".ljust(wide) + "  ".join(cells).rstrip()
    same = len(rows) - sum(row.differs for row in rows)
    if not everything:
        yield f"{same} more are the same; --all shows them"


def _short(value: str) -> str:
    text = printable(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
