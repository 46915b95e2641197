"""metrics.jsonl: what a resume keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.worker.metrics import MetricsFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = MetricsFile(tmp_path / "metrics.jsonl", step=0, validated=True)
    for step in (2, 4, 6):
        file.log(step, 1, {"loss": step / 10, "lr": None})
        if step != 2:
            file.validated(step, 1, {"accuracy": 0.5})
    file.sync()
    file.close()
    return tmp_path / "metrics.jsonl"


def reopened(path: Path, step: int, *, validated: bool = True) -> list[str]:
    MetricsFile(path, step=step, validated=validated).close()
    return path.read_text().splitlines()


def test_lines_hold_nothing_but_the_training(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[1:3] == [
        '{"step": 4, "epoch": 1, "loss": 0.4, "lr": null}',
        '{"step": 4, "epoch": 1, "validation": {"accuracy": 0.5}}',
    ]


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 3), (5, 3), (6, 5), (9, 5)])
def test_a_resume_cuts_off_later_steps(path: Path, step: int, kept: int) -> None:
    before = path.read_text().splitlines()
    assert reopened(path, step) == before[:kept]


def test_a_validation_that_will_be_made_again_is_cut_off(path: Path) -> None:
    assert len(reopened(path, 4, validated=False)) == 2


@pytest.mark.parametrize(
    "torn", ['{"step": 8, "ep', '{"step": 2, "epoch": 1}', "\0\0\0\0\n", "[]\n", '{"step": "2"}\n']
)
def test_a_torn_or_foreign_last_line_is_cut_off(path: Path, torn: str) -> None:
    before = path.read_text().splitlines()
    path.write_text(path.read_text() + torn)
    assert reopened(path, 9) == before


def test_what_is_added_after_a_resume_follows_what_was_kept(path: Path) -> None:
    file = MetricsFile(path, step=4, validated=True)
    file.log(6, 2, {"loss": 0.0})
    file.close()
    assert [line[:10] for line in path.read_text().splitlines()] == [
        '{"step": 2',
        '{"step": 4',
        '{"step": 4',
        '{"step": 6',
    ]
