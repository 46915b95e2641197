"""The report as a text, and as a browser shows it."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launcher import report
from launcher.report.picture import MOST_POINTS, picture, thinned, ticks
from launcher.store import RunFolder
from tests.recorded import recorded_run

RUN = "mlp-20261121T225500-ab12"
EARLIER = "mlp-20261121T100000-00aa"
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


def of_run(folder: Path) -> str:
    return report.of_run(folder, parent=None)


def test_it_holds_all_of_a_run(tmp_path: Path) -> None:
    cause = {"message": "no <such> thing", "rank": 1, "host": "h"}
    folder = recorded_run(tmp_path, RUN, losses=[2.0, 1.0], state="FAILED", root_cause=cause)
    folder.append_event({"event": "retrying", "attempt": 2, "cause": cause})
    text = of_run(folder.path)
    for part in ("<svg", "validation/accuracy", "memory, MB", "no &lt;such&gt; thing", "task.args.width", "c0ffee"):
        assert part in text
    assert "<such>" not in text


def test_it_is_held_against_the_run_of_that_name_before_it(tmp_path: Path) -> None:
    recorded_run(tmp_path, EARLIER, losses=[2.0], width=64)
    recorded_run(tmp_path, "gpt-20261121T110000-00bb", losses=[2.0])
    text = of_run(recorded_run(tmp_path, RUN, losses=[2.0]).path)
    assert f"What differs from {EARLIER}" in text and "<td>task.args.width</td><td>64</td><td>128</td>" in text


def test_a_run_that_began_with_another_is_held_against_that_one(tmp_path: Path) -> None:
    parent = "gpt-20261121T090000-00cc"
    recorded_run(tmp_path, parent, losses=[2.0], width=32)
    recorded_run(tmp_path, EARLIER, losses=[2.0], width=64)
    text = of_run(begun_with(parent, recorded_run(tmp_path, RUN, losses=[2.0, 1.0])).path)
    assert f"<dt>began with</dt><dd>step-00000007 of {parent}</dd>" in text
    assert f"What differs from {parent}" in text and "<td>task.args.width</td><td>32</td><td>128</td>" in text


@pytest.mark.parametrize("parent", ["gone-20261121T090000-00cc", "../..", "/etc", 7, None])
def test_a_parent_that_is_not_here_gives_way_to_the_run_before(tmp_path: Path, parent: Any) -> None:
    recorded_run(tmp_path, EARLIER, losses=[2.0], width=64)
    assert f"What differs from {EARLIER}" in of_run(begun_with(parent, recorded_run(tmp_path, RUN, losses=[2.0])).path)


def test_without_an_earlier_run_nothing_is_said_of_one(tmp_path: Path) -> None:
    assert "What differs" not in of_run(recorded_run(tmp_path, RUN, losses=[2.0]).path)


def test_nothing_in_it_leads_outside(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, RUN, losses=[2.0], metrics={"<img src=http://example.org/x>": 1.0})
    text = of_run(folder.path)
    assert not Links(text).found and "default-src 'none'" in text


def test_a_long_curve_keeps_its_spikes() -> None:
    points = tuple((step, 9.0 if step == 7777 else 1.0) for step in range(20_000))
    assert len(thinned(points)) <= MOST_POINTS and (7777, 9.0) in thinned(points)


def test_axes_end_on_round_numbers() -> None:
    assert [round(tick, 9) for tick in ticks(0.13, 2.31)] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert ticks(3, 3)[0] < 3 < ticks(3, 3)[-1]


def test_a_value_that_is_not_finite_breaks_a_line() -> None:
    drawn = picture("loss", {"a": ((1, 1.0), (2, 2.0), (3, float("inf")), (4, 1.0), (5, 2.0))})
    assert drawn.count("<polyline") == 2
    assert picture("loss", {"a": ((1, float("nan")),)}) == ""


def begun_with(parent: Any, folder: RunFolder) -> RunFolder:
    about = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**about, "began_with": {"run": parent, "checkpoint": "step-00000007"}}))
    return folder


PROBE = """<!doctype html><iframe id="page" src="report.html" style="width:390px;height:800px;border:0"></iframe>
<pre id="seen"></pre><script>
document.getElementById("page").onload = event => {
  const inside = event.target.contentWindow, page = inside.document
  document.getElementById("seen").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    curves: [...page.querySelectorAll("polyline")].map(line => line.getBoundingClientRect().width),
    stroke: inside.getComputedStyle(page.querySelector("polyline")).stroke,
    requests: inside.performance.getEntriesByType("resource").map(entry => entry.name)})
}</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium-headless-shell")
def test_a_browser_shows_it_at_phone_width_and_prints_it(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "runs", RUN, losses=[2.0, 1.0, 0.5], metrics={"long_name_" * 20: 0.5})
    (tmp_path / "report.html").write_text(of_run(folder.path))
    (tmp_path / "probe.html").write_text(PROBE)
    with served(tmp_path) as (address, asked):
        dom = browse("--dump-dom", f"{address}/probe.html")
        browse(f"--print-to-pdf={tmp_path / 'report.pdf'}", f"{address}/report.html")
    seen: dict[str, Any] = json.loads(re.findall(r'<pre id="seen">(.*?)</pre>', dom)[0])
    assert seen["width"] <= 390 and min(seen["curves"]) > 100
    assert (seen["stroke"], seen["requests"]) == ("rgb(37, 99, 235)", [])
    assert {path for path in asked if path != "/favicon.ico"} == {"/probe.html", "/report.html"}
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def browse(*options: str) -> str:
    assert BROWSER is not None
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000")
    done = subprocess.run([BROWSER, *quiet, *options], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Links(HTMLParser):
    """Everything in a document that a browser would ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
