"""The jobs that users copy, run as the README says."""

import pytest

from tests.runs.conftest import ROOT, Bench


def test_the_first_job_of_the_readme_learns_its_digits_on_two_nodes(bench: Bench) -> None:
    done = bench.call("run", str(ROOT / "jobs" / "mlp.yaml"), "--nodes", "2")
    assert done.exit_code == 0, done.stderr
    assert bench.show()["metrics"]["accuracy"] >= 0.96


@pytest.mark.parametrize("job", [pytest.param("gpt", marks=pytest.mark.long), "gan"])
def test_a_job_of_another_sort_takes_its_first_steps(bench: Bench, job: str) -> None:
    short = ("training.epochs=null", "training.steps=2", "training.validate_every=2", "training.log_every=1")
    done = bench.call("run", str(ROOT / "jobs" / f"{job}.yaml"), *(word for key in short for word in ("--set", key)))
    assert done.exit_code == 0, done.stderr
    assert (bench.show()["state"], bench.show()["step"]) == ("SUCCEEDED", 2)
    assert len((bench.folder() / "metrics.jsonl").read_text().splitlines()) >= 2
