"""The command line: one file a command, loaded only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from launcher.cli import boundary, group

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "run": "Start a job and watch it to its end.",
    "sweep": "Try many settings of a job, and find the best.",
    "validate": "Check a job file without starting anything.",
    "schema": "Print the JSON Schema of job files.",
    "runs": "List the runs.",
    "show": "Show one run: how far it came, how it ended, and why.",
    "logs": "Print what a rank of a run wrote.",
    "compare": "Show in what runs differ, and their curves.",
    "report": "Write a run's report: one HTML file.",
    "export": "Write a trained model as ONNX, torch.export, TorchScript or safetensors.",
    "serve": "Serve a trained model over HTTP.",
    "top": "Show what runs now, rank by rank.",
    "stop": "Stop a run; it saves a checkpoint first.",
    "resume": "Go on with a run from its newest verified checkpoint.",
    "verify-resume": "Kill and resume a job, and compare its bits with those of an undisturbed run.",
    "reproduce": "Run a recorded run again and say whether the same came of it.",
    "bench": "Time a job's steps, phase by phase, and what would make them quicker.",
    "profile": "Look at a few steps with torch.profiler: one page and a trace.",
    "envcheck": "Check that this machine can train.",
    "init": "Make a small project that runs.",
    "completion": "Print what a shell needs to complete commands and run ids.",
    "images": "List, lock, build, test and compare the images that jobs run in.",
}
"""Name and summary; `launcher.cli.<name>`, with `_` for `-`, holds the command. The summaries stand here so that
`launcher --help` loads no command."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if instruction := os.environ.get("_LAUNCHER_COMPLETE"):  # a shell asks what may stand where the cursor is
        from launcher.cli import completion

        sys.exit(completion.answer(_launcher, instruction))
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(boundary.guarded(lambda: _called(words)))


def _called(words: list[str]) -> Any:
    with _launcher.make_context("launcher", words) as context:
        return _launcher.invoke(context)


class _Commands(click.Group):
    """A group that knows its commands by name and imports one only to call it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"launcher.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101 (a row of the table without its command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            raise group.unknown(ctx, self, args[0])
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from launcher import __version__

        click.echo(f"launcher {__version__}")
        ctx.exit()


@click.group(cls=_Commands, name="launcher")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def _launcher() -> None:
    """Run PyTorch training jobs the same way everywhere."""
