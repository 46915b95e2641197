"""`launcher serve`: a trained model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher import store
from launcher.cli import options
from launcher.cli.completion import run_ids
from launcher.errors import RequestError

if TYPE_CHECKING:
    from launcher.worker.serve.predictor import Predictor

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command(epilog="Example: launcher serve latest --port 8000")
@click.argument("model", metavar="RUN|FILE", shell_complete=run_ids)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one.")
@click.option("--token", envvar="LAUNCHER_SERVE_TOKEN", show_envvar=True, help="What a request must carry as Bearer.")
@click.option("--max-batch", type=click.IntRange(1, 65536), default=32, show_default=True, help="Samples at once.")
@click.option(
    "--latency",
    type=click.FloatRange(0, 60_000),
    default=5.0,
    show_default=True,
    metavar="MS",
    help="How long a sample may wait for others, in milliseconds.",
)
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Samples that may wait.")
@click.option(
    "--max-body",
    type=click.IntRange(1),
    default=1 << 20,
    show_default=True,
    metavar="BYTES",
    help="How large a request may be.",
)
@click.option(
    "--checkpoint", default="newest", show_default=True, metavar="NAME", help="Of a run: newest, best, a name."
)
@click.option("--model", "part", metavar="NAME", help="Of a run: which model, where the task has several.")
@options.runs_dir
def command(
    model: str,
    host: str,
    port: int,
    token: str | None,
    max_batch: int,
    latency: float,
    queue: int,
    max_body: int,
    checkpoint: str,
    part: str | None,
    runs_dir: Path,
) -> None:
    """Serve the trained model of RUN, or of a FILE that launcher export wrote, over HTTP.

    POST /predict takes {"inputs": [sample, …]}; /health, /metrics and /docs say the rest. A sample waits at most
    --latency for others to be computed with. SIGTERM or Ctrl-C ends it when the requests under way are answered.
    """
    from launcher.worker import serve

    serve.check_installed()
    from launcher.worker.serve import server

    loaded = _loaded(model, checkpoint, part, runs_dir)
    settings = serve.Settings(
        host=host, port=port, token=token, max_batch=max_batch, latency=latency / 1000, queue=queue, max_body=max_body
    )
    if host not in LOOPBACK and token is None:
        click.echo("warning: whoever reaches this address can ask; --token says who may", err=True)

    def ready(bound: int) -> None:
        click.echo(f"{loaded.about} on http://{host}:{bound}/docs")

    server.Server(loaded, settings, ready=ready).serve_until_stopped()


def _loaded(model: str, checkpoint: str, part: str | None, runs_dir: Path) -> Predictor:
    from launcher.worker.serve import predictor

    path = Path(model)
    if path.is_file():
        return predictor.of_file(path)
    if path.suffix in (".onnx", ".pt2", ".pt", ".safetensors"):
        raise RequestError(f"{path} does not exist", hint="launcher export RUN --format onnx writes such a file")
    from launcher.worker import trained

    return predictor.of_run(trained.load(store.find(runs_dir, model), checkpoint=checkpoint, model=part))
