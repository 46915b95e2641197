"""Options that several commands share, and the RUN they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def runs_dir(command: Command) -> Command:
    return click.option(
        "--runs-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="LAUNCHER_RUNS_DIR",
        default=Path("runs"),
        show_default=True,
        show_envvar=True,
        metavar="DIR",
        help="Folder of the run folders.",
    )(command)


def run_name(command: Command) -> Command:
    """The argument RUN: an id, the beginning of one, or `latest`."""
    return click.argument("run", metavar="RUN", shell_complete=_run_ids)(command)


def run_names(command: Command) -> Command:
    """The argument RUN RUN..., two or more."""
    return click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=_run_ids)(command)


def sweep_name(command: Command) -> Command:
    """The argument SWEEP: an id, the beginning of one, or `latest`."""
    return click.argument("sweep", metavar="SWEEP", shell_complete=_sweep_ids)(command)


def run_or_sweep_name(command: Command) -> Command:
    """The argument RUN|SWEEP."""
    return click.argument("run", metavar="RUN|SWEEP", shell_complete=_run_and_sweep_ids)(command)


def settings(help_text: str = "Set a key of the job file; repeatable.") -> Callable[[Command], Command]:
    return click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=help_text)


def as_json(help_text: str) -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def watching(command: Command) -> Command:
    """How a run is watched: --detach, --json, --runs-dir."""
    detach = click.option("--detach", is_flag=True, help="Let it run in the background and return at once.")
    events = as_json("Print events as JSON lines, and the run's record as the last one.")
    return detach(events(runs_dir(command)))


def _run_ids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from launcher.cli.completion import run_ids  # only a shell that completes needs it

    return run_ids(ctx, parameter, incomplete)


def _sweep_ids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from launcher.cli.completion import sweep_ids

    return sweep_ids(ctx, parameter, incomplete)


def _run_and_sweep_ids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    sweeps = _sweep_ids(ctx, parameter, incomplete)
    return [*_run_ids(ctx, parameter, incomplete), *(item for item in sweeps if item.value != "latest")]
