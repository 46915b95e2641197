"""`launcher completion`: what a shell needs to complete launcher's commands, options and run ids."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from launcher import store

VARIABLE = "_LAUNCHER_COMPLETE"
"""Set by the shell's function when it asks; `launcher.cli.main` answers."""


@click.command(epilog="Example: echo 'eval \"$(launcher completion bash)\"' >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the lines that make SHELL complete launcher's commands, options and run ids.

    bash and zsh read them with eval "$(launcher completion SHELL)"; fish with launcher completion fish | source.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click knows all three)
    click.echo(kind(click.Command("launcher"), {}, "launcher", VARIABLE).source())


def answer(group: click.Group, instruction: str) -> int:
    """Print what may stand where the cursor is. A line that makes no sense has no completions, and no complaint."""
    with contextlib.suppress(click.ClickException):
        return shell_complete(group, {}, "launcher", VARIABLE, instruction)
    return 0


def run_ids(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs in the folder that the line names, the newest first."""
    return _items(store.ids(_runs_dir(ctx)), incomplete)


def sweep_ids(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sweeps beside those runs, the newest first."""
    return _items(store.ids(_runs_dir(ctx) / store.SWEEPS), incomplete)


def _runs_dir(ctx: click.Context) -> Path:
    return Path(ctx.params.get("runs_dir") or "runs")


def _items(ids: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in ["latest", *reversed(ids)] if name.startswith(incomplete)]
