"""A command that has commands: it tells each in a whole sentence, and answers a mistyped one with the nearest."""

from __future__ import annotations

import click

from launcher.errors import nearest


class Group(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx):
            raise unknown(ctx, self, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _sentence(command)) for name, command in self.commands.items()])


def unknown(ctx: click.Context, group: click.Group, word: str) -> click.UsageError:
    return click.UsageError(f"there is no command '{word}'{nearest(word, group.list_commands(ctx))}", ctx)


def _sentence(command: click.Command) -> str:
    """The first paragraph of its help, on one line."""
    return " ".join((command.help or "").split("\n\n")[0].split())
