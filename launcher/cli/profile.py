"""`launcher profile`: what a few steps of a job are made of, as one page and a trace."""

from __future__ import annotations

from pathlib import Path

import click

from launcher import bench, jobfile, profiling
from launcher.cli import ending, files, options
from launcher.cli.bench import only_warnings
from launcher.measuring import LEAST_WARM_UP, Request

MOST_SHOWN = 5


@click.command(epilog="Example: launcher profile jobs/mlp.yaml --output step.html")
@click.argument("spec", metavar="SPEC", type=click.Path(path_type=Path))
@click.option("--warmup", type=click.IntRange(min=LEAST_WARM_UP), default=5, show_default=True, help="Steps before.")
@click.option("--steps", type=click.IntRange(1, 100), default=3, show_default=True, help="Steps to look at.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The page; default: NAME-profile.html.",
)
@options.settings()
@options.runs_dir
def command(spec: Path, warmup: int, steps: int, output: Path | None, settings: tuple[str, ...], runs_dir: Path) -> int:
    """Look at a few steps of the job that the file SPEC describes with torch.profiler, on rank 0.

    Writes one HTML page that asks nothing of any network: phases, operators, where it waits, how long nothing runs; and
    beside it the trace for Perfetto or Chrome. The run itself leaves nothing behind; one that fails is kept.
    """
    page = output or Path(f"{jobfile.load(spec, settings).name}-profile.html")
    trace = page.with_suffix(".trace.json.gz")
    files.check_writable(page)
    request = Request(warmup=warmup, steps=steps, profile=True)
    try:
        seen = profiling.profile(spec, settings, request, runs_dir=runs_dir, trace=trace, listener=only_warnings)
    except bench.Ended as ended:
        return ending.tell(ended.record, as_json=False, detached=False)
    files.write(page, profiling.html(seen), what="the page", option="--output")
    click.echo(f"{100 * seen.gap:.0f} % gaps: the rest of the time {seen.profile.busy_what}")
    for each in seen.profile.operations[:MOST_SHOWN]:
        own = max(each.own, each.on_device) / seen.profile.steps
        click.echo(f"{1e3 * own:10.3f} ms a step in {each.calls / seen.profile.steps:6.1f} calls  {each.name}")
    click.echo(f"page  {page}\ntrace {trace}")
    return 0
