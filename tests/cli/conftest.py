import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher import cli
from launcher.store import RunRecord

RECORD = RunRecord(
    run_id="mlp-20261121T225500-ab12",
    name="mlp",
    state="SUCCEEDED",
    created="2026-11-21T22:55:00+00:00",
    run_dir="",
    attempts=1,
    step=300,
    epoch=3,
    total_steps=300,
    metrics={"accuracy": 0.97222},
    checkpoint="step-00000300",
    weights_sha256="ab" * 32,
    exit_code=0,
)


class Said(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def launcher(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process."""

    def call(*arguments: str | Path) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs folder of this test."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("LAUNCHER_RUNS_DIR", str(folder))
    return folder


def finished_run(runs: Path, **changes: Any) -> RunRecord:
    """A run folder with a verdict."""
    run_id = changes.get("run_id", RECORD.run_id)
    record = dataclasses.replace(RECORD, run_dir=str(runs / run_id), **changes)
    Path(record.run_dir).mkdir(parents=True)
    about = {"name": record.name, "created": record.created}
    Path(record.run_dir, "record.json").write_text(json.dumps(about))
    Path(record.run_dir, "result.json").write_text(json.dumps(record.to_json()))
    return record
