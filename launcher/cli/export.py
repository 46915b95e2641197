"""`launcher export`: a trained model in a form that needs none of its code."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher import store
from launcher.cli import options

FORMATS = ("onnx", "torch-export", "torchscript", "safetensors")


@click.command(epilog="Example: launcher export latest --format onnx --output mlp.onnx")
@options.run_name
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Which form.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="By default the run's id and a suffix.")
@click.option("--checkpoint", default="newest", show_default=True, metavar="NAME", help="newest, best, or its name.")
@click.option("--model", metavar="NAME", help="Which model, where the task has several.")
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-4, show_default=True, help="Largest difference.")
@click.option("--opset", type=click.IntRange(18), metavar="N", help="Of ONNX; 18 by default.")
@options.as_json("Print what was written as one JSON object.")
@options.runs_dir
def command(
    run: str,
    form: str,
    output: Path | None,
    checkpoint: str,
    model: str | None,
    tolerance: float,
    opset: int | None,
    as_json: bool,
    runs_dir: Path,
) -> None:
    """Write RUN's trained model in another form, and hold it against the model itself on real samples.

    One whose outputs differ by more than the tolerance is not written. RUN is a run id, the beginning of one, or
    latest.
    """
    if opset is not None and form != "onnx":
        raise click.UsageError(f"--opset is ONNX's, and the format is {form}")
    run_dir = store.find(runs_dir, run)
    from launcher.worker import export, trained

    loaded = trained.load(run_dir, checkpoint=checkpoint, model=model)
    path = output or Path(f"{run_dir.name}{export.formats.FORMS[form].suffix}")
    done = export.export(
        loaded, form, path, tolerance=tolerance, opset=opset, warn=lambda text: click.echo(f"warning: {text}", err=True)
    )
    if as_json:
        click.echo(json.dumps({"path": str(path), "max_difference": done.max_difference, "metadata": done.metadata}))
        return
    tried = f"with batches of {', '.join(map(str, done.batches))}" if done.batches else "with one call"
    click.echo(f"{path}: {loaded.run_id} {loaded.checkpoint} as {form}")
    click.echo(f"max difference {done.max_difference:.3g} from the trained model, {tried} of real samples")
