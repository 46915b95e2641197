"""The command line: one file a command, loaded only when it is called."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Run PyTorch training jobs the same way everywhere."""
