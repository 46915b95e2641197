"""mkdocs' hook: the README, other pages beside docs/, and every file that a page links to are pages of the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "README.zh-CN.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
"""What stands beside `docs/` and is a page of the site, and under which name."""
LINK = re.compile(r"\]\((?P<path>[^()#:\s]+)(?P<place>#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside `docs/`, and one for each file or folder that any page links to."""
    for file in files.documentation_pages():
        _origins[file.src_uri] = f"docs/{file.src_uri}"
    for origin, name in PAGES.items():
        _add(files, config, origin, name, (ROOT / origin).read_text(encoding="utf-8"), InclusionLevel.INCLUDED)
    waiting = list(_origins.values())
    while waiting:
        origin = waiting.pop()
        for target in _linked(origin):
            if target not in _origins.values() and not target.startswith("docs/"):
                _add(files, config, target, _name(target), _shown(target), InclusionLevel.NOT_IN_NAV)
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    origin = _origins[page.file.src_uri]
    if not _is_prose(origin):
        return markdown
    names = {origin: name for name, origin in _origins.items()}

    def moved(link: re.Match[str]) -> str:
        target = _resolved(origin, link["path"])
        name = names.get(target, target.removeprefix("docs/"))
        path = posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")
        return f"]({path}{link['place'] or ''})"

    return LINK.sub(moved, markdown)


_origins: dict[str, str] = {}
"""Of each page of the site, by its name there: the path in the repository."""


def _add(files: Files, config: MkDocsConfig, origin: str, name: str, text: str, inclusion: InclusionLevel) -> None:
    _origins[name] = origin
    files.append(File.generated(config, name, content=text, inclusion=inclusion))


def _linked(origin: str) -> Iterator[str]:
    """The paths in the repository that a page's links lead to; what is not there, mkdocs itself complains of."""
    if not _is_prose(origin):
        return
    text = _listing(origin) if (ROOT / origin).is_dir() else (ROOT / origin).read_text(encoding="utf-8")
    for link in LINK.finditer(text):
        target = _resolved(origin, link["path"])
        if (ROOT / target).exists():
            yield target


def _resolved(origin: str, link: str) -> str:
    folder = origin if (ROOT / origin).is_dir() else posixpath.dirname(origin)
    return posixpath.normpath(posixpath.join(folder, link))


def _is_prose(origin: str) -> bool:
    return origin.endswith(".md") or (ROOT / origin).is_dir()


def _name(origin: str) -> str:
    return f"source/{origin.removesuffix('.md')}.md"


def _shown(origin: str) -> str:
    """The page of a file: prose as it is, a folder as a list, all else as its text; none of them is searched."""
    path = ROOT / origin
    head = "---\nsearch: {exclude: true}\n---\n"
    if path.is_dir():
        return head + _listing(origin)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return head + text
    language = {".py": "python", ".yaml": "yaml", ".toml": "toml"}.get(path.suffix, "text")
    return f"{head}# {origin}\n\n~~~~{language}\n{text}\n~~~~\n"


def _listing(origin: str) -> str:
    inside = sorted(path.name for path in (ROOT / origin).iterdir() if path.is_file())
    return f"# {origin}\n\n" + "".join(f"- [{name}]({name})\n" for name in inside)
