import json
from pathlib import Path

import pytest
from click import unstyle

from launcher.cli import plot
from tests.recorded import recorded_run

from .conftest import Cli

FIRST, SECOND = "mlp-20261121T225500-ab12", "mlp-20261122T000000-00ff"


@pytest.fixture
def two(runs: Path) -> None:
    recorded_run(runs, FIRST, losses=[2.0, 1.0])
    recorded_run(runs, SECOND, losses=[2.0, 0.5], width=64, state="FAILED")


@pytest.mark.usefixtures("two")
def test_only_what_differs_is_shown(launcher: Cli) -> None:
    lines = launcher("compare", FIRST, SECOND).out.splitlines()
    assert "  task.args.width" + "  128" + " " * (len(FIRST) - 3) + "  64" in lines
    assert not any("training.epochs" in line for line in lines)


@pytest.mark.usefixtures("two")
def test_all_of_it_is_shown_on_request(launcher: Cli) -> None:
    assert "training.epochs" in launcher("compare", FIRST, SECOND, "--all").out


@pytest.mark.usefixtures("two")
def test_the_curves_of_all_runs_are_drawn(launcher: Cli) -> None:
    out = launcher("compare", FIRST, SECOND).out
    assert f"— {FIRST}" in out and f"— {SECOND}" in out and "⡀" in out


@pytest.mark.usefixtures("two")
def test_compared_as_json(launcher: Cli) -> None:
    said = json.loads(launcher("compare", FIRST, SECOND, "--json").out)
    (width,) = (row for row in said["rows"] if row["name"] == "task.args.width")
    assert width == {"part": "job", "name": "task.args.width", "values": ["128", "64"], "differs": True}


@pytest.mark.usefixtures("two")
def test_a_run_is_not_compared_with_itself(launcher: Cli) -> None:
    said = launcher("compare", FIRST, FIRST)
    assert said.code == 2 and "compare needs two different runs" in said.err


@pytest.mark.usefixtures("two")
def test_a_mistyped_curve_is_answered_with_the_nearest(launcher: Cli) -> None:
    said = launcher("compare", FIRST, SECOND, "--curve", "validation/acuracy")
    assert said.code == 2 and "did you mean validation/accuracy?" in said.err


@pytest.mark.usefixtures("two")
def test_an_unknown_run_is_answered_with_the_nearest(launcher: Cli) -> None:
    said = launcher("compare", FIRST, "mlp-20261122T000000-00f0")
    assert said.code == 2 and f"nearest: {SECOND}" in said.err


def test_a_curve_goes_down_from_the_upper_left_to_the_lower_right() -> None:
    drawn = [unstyle(line) for line in plot.lines({"a": ((0, 1.0), (10, 0.0))}, width=31, height=4)]
    assert drawn[0].startswith("        1 ⠉") and drawn[3].rstrip().endswith("⣀")


def test_a_value_that_is_not_finite_breaks_the_curve() -> None:
    nan = float("nan")
    drawn = [unstyle(line) for line in plot.lines({"a": ((0, 1.0), (5, nan), (10, 1.0))}, width=31, height=3)]
    assert sum(character > "⠀" for line in drawn[:3] for character in line) == 2
    assert list(plot.lines({"a": ((0, nan),)}, width=31)) == []
