"""Every command and subcommand of the command line, whichever library reads its words."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import click

from envcheck import options as envcheck_options
from launcher.cli import _launcher


@dataclass(frozen=True)
class Option:
    """An option as its user types it (`--nodes N`), its default if it has one, and what it is for."""

    typed: str
    default: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command: its name in words, what follows them, what it does, its options and its example."""

    name: str
    usage: str
    text: str
    options: tuple[Option, ...]
    arguments: tuple[str, ...]
    example: str


def commands() -> Iterator[Command]:
    """All of them, in the order of `launcher --help`."""
    with click.Context(_launcher, info_name="launcher") as context:
        for name in _launcher.list_commands(context):
            if name == "envcheck":
                yield from (_of_envcheck(each) for each in envcheck_options.COMMANDS)
            elif (command := _launcher.get_command(context, name)) is not None:
                yield from _of_click(command, click.Context(command, info_name=name, parent=context))


def parses(example: str) -> None:
    """Read an example's words as its command would, and start nothing; raises what a wrong one raises."""
    line = re.search(r"launcher [^|;<>)]+", example)
    assert line is not None, f"no launcher command in {example!r}"
    words = shlex.split(line[0])[1:]
    if words[0] == "envcheck":
        command = words[1] if words[1:2] and words[1] in envcheck_options.COMMANDS else ""
        envcheck_options.parser(command).parse_args(words[2 if command else 1 :])
        return
    context = _launcher.make_context("launcher", words)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)


def _of_click(command: click.Command, context: click.Context) -> Iterator[Command]:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    yield Command(
        name=context.command_path,
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        text=re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or "")),
        options=tuple(_click_option(option, context) for option in options),
        arguments=tuple(argument.make_metavar(context) for argument in arguments),
        example=(command.epilog or "").removeprefix("Example: "),
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _of_click(inner, click.Context(inner, info_name=name, parent=context))


def _click_option(option: click.Option, context: click.Context) -> Option:
    value = "" if option.is_flag else option.make_metavar(context)
    default = option.get_default(context) if option.show_default else None
    if isinstance(option.type, click.types.FloatRange | click.types.IntRange) and option.metavar is None:
        value = "N"
    return Option(" ".join([*option.opts, value]).strip(), "" if default is None else str(default), option.help or "")


def _of_envcheck(name: str) -> Command:
    parser = envcheck_options.parser(name)
    path = f"launcher envcheck {name}".rstrip()
    taken = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    arguments = {str(action.metavar): action.help for action in taken if not action.option_strings}
    listed = "; ".join(f"{argument}: {text}" for argument, text in arguments.items())
    options = [action for action in taken if action.option_strings]
    return Command(
        name=path,
        usage=" ".join([path, *(["[OPTIONS]"] if options else []), *arguments]),
        text=(parser.description or "") + (f"\n\n{listed}." if listed else ""),
        options=tuple(map(_envcheck_option, options)),
        arguments=tuple(arguments),
        example=(parser.epilog or "").removeprefix("Example: "),
    )


def _envcheck_option(action: argparse.Action) -> Option:
    value = "|".join(map(str, action.choices)) if action.choices else action.metavar
    words = [*action.option_strings, *([f"[{value}]" if action.choices else str(value)] if action.nargs != 0 else [])]
    text = action.help or ""
    return Option(" ".join(words), "", f"{text[:1].upper()}{text[1:]}." if text else "")
