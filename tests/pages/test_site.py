"""The documentation site is built without a warning, and what it shows asks nothing of another server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "use": "href"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return built


def test_every_page_of_the_navigation_is_there(site: Path) -> None:
    links = set(re.findall(r'<a href="([^":#]+\.html)" class="md-nav__link', (site / "index.html").read_text()))
    assert {"tutorial.html", "job-file.html", "commands.html", "checks.html", "tutorial.zh-CN.html"} <= links
    assert [link for link in links if not (site / link).is_file()] == []


def test_nothing_in_it_is_fetched_from_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [(page.name, address) for page in pages for address in fetched(page) if "//" in address] == []
    styles = [
        path for path in site.rglob("*.css") if re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text())
    ]
    assert styles == []


def test_a_file_that_a_page_links_to_is_shown(site: Path) -> None:
    assert "source/jobs/tasks/mlp.html" in (site / "index.html").read_text().replace(".py", "")
    assert "load_digits" in (site / "source" / "jobs" / "tasks" / "mlp.py.html").read_text()


def fetched(page: Path) -> Iterator[str]:
    """What a browser asks for by itself when it shows the page."""

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            told = dict(attrs)
            if tag in FETCHED and told.get("rel") not in ("canonical", "prev", "next", "alternate"):
                found.append(told.get(FETCHED[tag]) or "")

    found: list[str] = []
    Reader().feed(page.read_text())
    yield from found
