"""The pages of the reference that are written from the code: commands, checks and exit codes."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck import checks
from launcher import errors
from tests.pages import tree
from tests.pages.tree import Command, Option

MADE = "<!-- Made from the code: UPDATE_GOLDEN=1 python -m pytest tests/pages renews it. -->\n"


def commands() -> str:
    """Each command and subcommand with its options and an example that parses."""
    return MADE + COMMANDS + "".join(map(_command, tree.commands()))


def every_check() -> str:
    """Each check with its title, the reason it matters, what to type, and how bad it is."""
    found = checks.every_check()
    families = dict.fromkeys(check.family for check in found)
    return MADE + CHECKS.format(count=len(found)) + "".join(line for family in families for line in _family(family))


def exit_codes() -> str:
    """Which code a command ends with, and the errors that end it so."""
    return MADE + EXIT_CODES + "".join(_exits()) + EXCEPTIONS


COMMANDS = """\
# Commands

`launcher COMMAND --help` says the same. RUN is a run id, the beginning of one, or `latest`. What each exit code means:
[exit-codes.md](exit-codes.md).
"""

CHECKS = """\
# Checks

The {count} checks of [envcheck](envcheck.md), by family. `launcher envcheck --select ID` judges by one of them,
`--explain ID` tells what stands here. Words in braces are filled in with what was seen. How each was proven:
[envcheck-coverage.md](envcheck-coverage.md).
"""

EXIT_CODES = """\
# Exit codes

Every command ends with one of these. What went wrong is told on standard error: what, where, and what to type. An error
that launcher does not expect keeps its traceback and ends with 1.

| code | meaning | error |
|---|---|---|
| 0 | Done. | |
"""

EXCEPTIONS = """
Some commands answer a question with their code:

| command | 0 | 1 | 3 |
|---|---|---|---|
| `launcher verify-resume` | the same bits | they differ | |
| `launcher reproduce` | BITWISE | DIVERGED or NOT COMPARABLE | |
| `launcher images diff` | no difference | a difference | |
| `launcher images lock --check` | the locks are what the pins give | they are not | |
| `launcher images test` | all passed | one failed | |
| `launcher envcheck` | fit | | unfit; `--strict` counts WARN and UNKNOWN, too |
| `launcher envcheck diff` | no difference | | a difference |
| `launcher envcheck can-run` | it runs there | | it does not, or too little is known |
"""


def _command(command: Command) -> str:
    text = f"\n## {command.name}\n\n```\n{command.usage}\n```\n\n{command.text}\n"
    if command.options:
        text += "\n| option | default | meaning |\n|---|---|---|\n"
        text += "".join(map(_option, command.options))
    return f"{text}\nExample:\n\n```\n{command.example}\n```\n"


def _option(option: Option) -> str:
    default = f"`{option.default}`" if option.default else ""
    typed = option.typed.replace("|", "\\|")
    return f"| `{typed}` | {default} | {option.text} |\n"


def _family(family: str) -> Iterator[str]:
    yield f"\n## {family}\n"
    for check in (one for one in checks.every_check() if one.family == family):
        yield f"\n### {check.id}\n\n**{check.title}.** {check.severity.name}.\n"
        if check.reason:
            yield f"\n{check.reason}\n"
        yield f"\nRemedy: {check.remedy}\n"


def _exits() -> Iterator[str]:
    families = sorted(errors.LauncherError.__subclasses__(), key=lambda family: family.exit_code)
    for family in families:
        meaning = " ".join((family.__doc__ or "").split())
        yield f"| {family.exit_code} | {meaning} | `{family.__name__}` |\n"
