import json
from pathlib import Path

import pytest

from tests.recorded import recorded_run

from .conftest import Cli

RUN = "mlp-20261121T225500-ab12"


def test_each_rank_of_a_run_that_is_under_way_has_a_line(launcher: Cli, runs: Path) -> None:
    recorded_run(runs, RUN, losses=[2.0, 1.0], state="RUNNING", total_steps=9, attempts=2)
    assert launcher("top").out.splitlines() == [
        f"{RUN}  step 2/9 · attempt 2",
        "  rank 0   80 steps/s · 400 MB · GPU 2,000 MB · GPU 50% busy",
    ]


def test_runs_that_are_over_are_not_shown(launcher: Cli, runs: Path) -> None:
    recorded_run(runs, RUN, losses=[2.0])
    assert launcher("top").out == f"nothing runs in {runs}\n"


def test_top_as_json_has_the_record_and_the_ranks(launcher: Cli, runs: Path) -> None:
    recorded_run(runs, RUN, losses=[2.0], state="RUNNING")
    (told,) = json.loads(launcher("top", "--json").out)
    assert (told["run_id"], told["ranks"]["0"]["memory"]) == (RUN, 400e6)


def test_on_a_terminal_it_is_drawn_again_until_ctrl_c(
    launcher: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_run(runs, RUN, losses=[2.0], state="RUNNING")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("launcher.cli.top.time.sleep", nap)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    said = launcher("top", "--every", "3")
    assert (said.code, naps, said.out.count(RUN)) == (130, [3.0, 3.0], 2)
