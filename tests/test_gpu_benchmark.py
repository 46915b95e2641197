"""tests/benchmarks/gpu.py as far as it goes without a GPU."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher import jobfile
from tests.benchmarks import gpu

SECONDS = {"bare": [1.0, 2.0, 4.0], "launcher": [1.1, 2.0, 4.4]}


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 3
    assert "needs a GPU" in capsys.readouterr().err


def test_a_job_that_there_is_not_is_refused() -> None:
    assert [gpu.parser().parse_args(words).jobs for words in ([], ["gpt2"])] == [[], ["gpt2"]]
    with pytest.raises(SystemExit):
        gpu.parser().parse_args(["gpt3"])


def test_the_ratio_is_of_runs_side_by_side_and_the_share_of_the_medians() -> None:
    result = {**gpu.ratio(SECONDS["launcher"], SECONDS["bare"]), **gpu.utilization(6.0, SECONDS, ceiling=10.0)}
    expected = {"ratio": 1.1, "least": 1.0, "most": 1.1, "mfu_bare": 0.3, "mfu_launcher": 0.3}
    assert result == pytest.approx(expected)
    assert "1.1000 (1.000 to 1.100)" in gpu.told(result)


def test_the_models_have_the_sizes_that_they_are_named_for() -> None:
    with torch.device("meta"):
        sizes = {
            name: sum(each.numel() for each in gpu.model_of(name, gpu.SIZES[name]).parameters()) for name in gpu.SIZES
        }
    assert sizes == {"gpt2": pytest.approx(124e6, rel=0.01), "resnet50": pytest.approx(25.56e6, rel=0.01)}


def test_a_steps_operations_are_counted_and_not_made() -> None:
    counted = gpu.flops("gpt2", gpu.SIZES["gpt2"])
    assert counted == pytest.approx(6 * 124e6 * 16 * 1024, rel=0.15)


def test_the_job_is_one_that_launcher_takes(tmp_path: Path) -> None:
    job = json.dumps(gpu.job_of("resnet50", 60, "/bench/gpu.py")).encode()
    assert jobfile.parse(job, source="bench.yaml", overrides=()).training.numerics == "fast"


@pytest.mark.parametrize("name", ["gpt2", "resnet50"])
def test_the_loop_by_hand_times_its_steps(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, gpu.TIMES, str(tmp_path / "times"))
    gpu.bare(name, 10, tiny=True)
    assert json.loads((tmp_path / "times").read_text()) > 0
    task = gpu.build(name, tiny=True)
    assert task.loss is not None
    assert task.loss(task.model, gpu.batch_of(name, gpu.TINY[name])).isfinite()
