"""The four jobs that train one network end with one digest, on one process or two, in either precision."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from launcher import jobfile
from tests.frameworks.bench import ROOT, Bench, plan_of

JOBS = ("mlp_lightning", "mlp_ignite", "mlp_script")
EPOCHS = 2


def digest(bench: Bench, name: str, processes: int, precision: str, run_dir: Path, *more: str) -> str:
    settings = [
        f"training.epochs={EPOCHS}",
        f"training.precision={precision}",
        f"resources.procs_per_node={processes}",
        "resources.device=cpu",
        *more,
    ]
    spec = jobfile.load(ROOT / "jobs" / f"{name}.yaml", settings)
    outcomes = bench.train(plan_of(spec, run_dir, job_dir=ROOT / "jobs"))
    assert [each["state"] for each in outcomes] == ["done"] * processes, outcomes[0]["log"]
    assert outcomes[0]["metrics"]["accuracy"] > 0.5
    return str(outcomes[0]["weights_sha256"])


@pytest.fixture(scope="session")
def native(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> functools.partial[str]:
    """The digest of mlp.yaml, made once for each number of processes and precision."""

    @functools.cache
    def of(processes: int, precision: str) -> str:
        return digest(bench, "mlp", processes, precision, tmp_path_factory.mktemp("mlp") / "run")

    return functools.partial(of)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", JOBS)
def test_a_job_of_another_kind_trains_the_network_to_the_same_bits(
    bench: Bench, native: functools.partial[str], name: str, processes: int, precision: str, tmp_path: Path
) -> None:
    assert digest(bench, name, processes, precision, tmp_path / "run") == native(processes, precision)


def test_the_script_accumulates_as_its_job_says(bench: Bench, tmp_path: Path) -> None:
    made = (digest(bench, name, 1, "fp32", tmp_path / name, "training.accumulate=2") for name in ("mlp", "mlp_script"))
    assert len(set(made)) == 1
