"""The reference pages say what the code says."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envcheck import checks
from tests.pages import reference, tree

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"commands.md": reference.commands, "checks.md": reference.every_check, "exit-codes.md": reference.exit_codes}


@pytest.mark.parametrize(("name", "write"), PAGES.items(), ids=PAGES)
def test_the_page_is_what_the_code_says(name: str, write: Callable[[], str]) -> None:
    if os.environ.get("UPDATE_GOLDEN") == "1":
        (DOCS / name).write_text(write())
    assert (DOCS / name).read_text() == write(), "UPDATE_GOLDEN=1 python -m pytest tests/pages renews it"


def test_every_command_has_its_part() -> None:
    parts = [line for line in reference.commands().splitlines() if line.startswith("## ")]
    assert parts == [f"## {command.name}" for command in tree.commands()]


def test_every_check_is_explained() -> None:
    assert [check.id for check in checks.every_check() if not (check.title and check.reason and check.remedy)] == []
