import json
import re

import pytest

pytest.importorskip("optuna")

from launcher.sweep import folder, page
from tests.sweep.conftest import Toy
from tests.test_report import BROWSER, PROBE, browse, served


def test_the_report_shows_the_trials_and_nothing_leads_outside(toy: Toy) -> None:
    toy.start()
    text = page.of_sweep(folder.opened(toy.sweep_dir))
    assert text.count("<svg") == 3 and "best so far" in text and "task.args.y: 0 is 0, 1 is 1" in text
    assert "http" not in text.replace("http-equiv", "")
    if BROWSER is None:
        pytest.skip("no chromium: apt-get install chromium-headless-shell")
    (toy.path / "report.html").write_text(text)
    (toy.path / "probe.html").write_text(PROBE)
    with served(toy.path) as (address, _):
        dom = browse("--dump-dom", f"{address}/probe.html")
    seen = json.loads(re.findall(r'<pre id="seen">(.*?)</pre>', dom)[0])
    assert seen["width"] <= 390 and min(seen["curves"]) > 100 and seen["requests"] == []
