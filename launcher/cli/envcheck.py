"""`launcher envcheck`: the verifier, with its own options."""

from __future__ import annotations

import click

from envcheck.__main__ import main


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Check that this machine can train; all arguments are those of `python -m envcheck`."""
    return main(list(arguments))
