from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RequestError
from launcher.sweep.file import Job, read
from launcher.sweep.spec import Dimension, SweepSpec, grid_point

ROOT = Path(__file__).parents[2]
HEAD = "metric: score\ntrials: 3\nspace:\n"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "toy.py").write_text("def build(width=1, rate=0.1): ...\n")
    text = b"name: toy\ntask: {target: toy.py:build}\ntraining: {steps: 5}\n"
    return Job(text, tmp_path / "job.yaml", [])


def refused(job: Job, text: str) -> str:
    with pytest.raises(RequestError) as refusal:
        read(text.encode(), "s.yaml", job)
    assert refusal.value.exit_code == 2
    return refusal.value.message


def test_every_fault_is_told_at_once_with_its_line(job: Job) -> None:
    said = refused(job, "metric: accuracy\nsamplr: tpe\nspace:\n  task.args.widht: {int: [1, 3]}\n  a: 3\n")
    assert said.splitlines() == [
        "s.yaml has 5 faults",
        "  s.yaml:1 metric: mode is missing, and 'accuracy' sounds as if larger were better; write mode: max",
        "  s.yaml:1 trials: missing; say how many (only a grid knows it by itself)",
        f"  s.yaml:2 samplr: there is no such key; the keys here are {', '.join(SweepSpec.__dataclass_fields__)}"
        " (did you mean sampler?)",
        "  s.yaml:4 space.task.args.widht: the job has no such key (did you mean task.args.width?)",
        "  s.yaml:5 space.a: the job has no such key",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("trainig.batch_size: {int: [8, 16]}", "the job has no such key (did you mean training.batch_size?)"),
        ("training.batch_size: {float: [0.5, 3]}", "0.5 is not a whole number of at least 1"),
        ("training.precision: {choice: [fp32, bf17]}", "not one of auto, fp32, bf16, fp16 (did you mean bf16?)"),
        ("training.epochs: {int: [1, 2]}", "job.yaml:3 training.steps: given beside epochs"),
        ("training.seed: {int: [3, 1]}", "3 is larger than 1; write the smaller one first"),
        ("training.seed: {int: [1, 2.5]}", "takes two whole numbers, [low, high]"),
        ("training.seed: {int: [0, 5], log: true}", "with log: true the smaller end is above 0, not 0"),
        ("training.seed: {int: [1, 5], log: true, step: 2}", "goes with equal distances"),
        ("training.seed: {int: [1, 5], step: 0}", "0 is not a whole number above 0"),
        ("training.seed: {int: [1, 5], stp: 2}", "(did you mean step?)"),
        ("training.seed: {int: [1, 5], choice: [1]}", "says int and choice of float, int and choice; give one of them"),
        ("training.seed: {choice: []}", "a list is not a list of values"),
        ("training.seed: {choice: [1, 1]}", "a value is given twice"),
        ("training.seed: 3", "3 is not a range; write {float: [low, high]}"),
        ("name: {choice: [a, b]}", "all trials have this in common"),
        ("env.A: {choice: [1]}", '1 is not text; put it in quotes: "1"'),
    ],
)  # fmt: skip
def test_a_key_or_a_range_that_does_not_fit_the_job_is_told(job: Job, line: str, fault: str) -> None:
    said = refused(job, f"{HEAD}  {line}\n")
    assert said.startswith("s.yaml:4 space.") and fault in said


@pytest.mark.parametrize(
    ("sampler", "line", "fault"),
    [
        ("grid", "task.args.rate: {float: [0, 1]}", "a grid needs a step, or a choice"),
        ("grid", "task.args.width: {int: [1, 9], log: true}", "a grid has equal distances"),
        ("grid", "task.args.width: {int: [1, 1000000000]}", "the grid has 1,000,000,000 points"),
        ("cmaes", "task.args.width: {choice: [1, 2]}", "cmaes varies numbers only"),
    ],
)
def test_a_space_that_the_sampler_cannot_search_is_told(job: Job, sampler: str, line: str, fault: str) -> None:
    assert fault in refused(job, f"sampler: {sampler}\n{HEAD}  {line}\n")


def test_a_grid_counts_its_points_and_the_last_key_varies_first(job: Job) -> None:
    ranges = "  task.args.rate: {float: [0, 1], step: 0.5}\n  task.args.width: {choice: [[1], a]}\n"
    text = f"metric: score\nsampler: grid\nspace:\n{ranges}"
    spec = read(text.encode(), "s.yaml", job)
    assert spec.count == 6
    assert [grid_point(spec, number)["task.args.width"] for number in range(3)] == [[1], "a", [1]]
    assert grid_point(spec, 5) == {"task.args.rate": 1.0, "task.args.width": "a"}


@pytest.mark.parametrize(
    ("about", "values"),
    [({"kind": "int", "low": 1, "high": 6, "step": 2}, (1, 3, 5)), ({"kind": "float", "high": 0.3, "step": 0.1}, 4)],
)
def test_a_step_never_leads_beyond_the_end(about: dict[str, Any], values: Any) -> None:
    found = Dimension(**about).values
    assert found == values if isinstance(values, tuple) else len(found) == values and max(found) <= 0.3


def test_what_a_trial_knows_depends_on_how_many_run_at_once_and_on_nothing_else() -> None:
    spec = SweepSpec(metric="m", space={}, trials=9, parallel=2, workers=2)
    assert [spec.known_before(number) for number in (0, 3, 4, 8)] == [0, 0, 1, 5]
    assert SweepSpec(metric="m", space={}, trials=9, sampler="random").known_before(8) == 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("jobs/*_sweep.yaml")), ids=lambda path: path.name)
def test_every_example_fits_its_job(path: Path) -> None:
    job = path.with_name(path.name.replace("_sweep", ""))
    assert read(path.read_bytes(), str(path), Job(job.read_bytes(), job, [])).count > 0
