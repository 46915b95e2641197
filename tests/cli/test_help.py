"""What `--help` says of every command and subcommand."""

import re

import pytest

from tests.cli.conftest import Cli
from tests.pages import tree
from tests.pages.tree import Command

COMMANDS = list(tree.commands())
EVERY_COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name.replace(" ", "-"))


def test_the_tree_reaches_the_subcommands() -> None:
    names = {command.name for command in COMMANDS}
    assert {"launcher run", "launcher images build", "launcher envcheck", "launcher envcheck can-run"} <= names


@pytest.mark.parametrize("group", ["images", "sweep"])
def test_a_commands_commands_are_told_in_whole_sentences(launcher: Cli, group: str) -> None:
    said = launcher(group)
    assert (said.code, said.err) == (0, "") and not re.search(r"\w\.\.\.", said.out)
    assert said.out == launcher(group, "--help").out


@EVERY_COMMAND
def test_it_says_what_the_command_does(command: Command) -> None:
    first = command.text.split("\n\n")[0]
    assert first[:1].isupper() and first.endswith(".") and len(first) > 25


@EVERY_COMMAND
def test_it_says_what_each_option_is_for(command: Command) -> None:
    assert [option.typed for option in command.options if not option.text.endswith((".", ".)"))] == []


@EVERY_COMMAND
def test_it_says_what_each_argument_is(command: Command) -> None:
    words = {word.strip("{}[].").split("|")[0].split()[0] for word in command.arguments}
    assert {word for word in words if word.isupper() and word not in command.text} == set()


@EVERY_COMMAND
def test_its_example_is_one_of_this_command_and_parses(command: Command) -> None:
    assert f"{command.name} " in f"{command.example} "
    tree.parses(command.example)
