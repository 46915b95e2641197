"""A page written by hand, with one part that a module makes out of the JSON beside it."""

from __future__ import annotations

from collections.abc import Iterable

END = "<!-- end -->\n"


def refilled(page: str, maker: str, lines: Iterable[str]) -> str:
    """The page with these lines as the part that `maker`, a file of the project, made.

    Raises ValueError where the page has no such part.
    """
    begin = f"<!-- made by {maker} -->\n"
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"no part of the page lies between {begin.strip()} and {END.strip()}")
    return "".join((before, begin, *(f"{line}\n" for line in lines), END, after))
