"""`launcher envcheck`: the verifier, with its own options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from envcheck.__main__ import main

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Forwarding(click.Command):
    """A command of which another parser reads the words; a shell completes those that it knows."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return _known_words(ctx, None, incomplete)


def _known_words(ctx: click.Context, _parameter: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from envcheck import options

    typed = ctx.params.get("arguments") or ("",)
    further = [name for name in options.COMMANDS if name]
    command = typed[0] if typed[0] in further else ""
    words = re.findall(r"--[\w-]+", options.parser(command).format_usage())
    return [
        CompletionItem(word) for word in [*(further if typed == ("",) else []), *words] if word.startswith(incomplete)
    ]


@click.command(cls=_Forwarding, context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=_known_words)
def command(arguments: tuple[str, ...]) -> int:
    """Check that this machine can train; all arguments are those of `python -m envcheck`."""
    return main(list(arguments))
