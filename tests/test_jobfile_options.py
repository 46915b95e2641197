"""`--set` is laid over the file, and its faults are named as they were typed."""

import pytest

from tests.jobs import JOB, fault, faults, read


def test_set_overrides_the_file_and_makes_sections() -> None:
    spec = read(JOB, "training.epochs=5", "early_stop.metric=loss", "task.args.lr=1e-3", "task.args.sizes=[1, 2]")
    assert spec.training.epochs == 5 and spec.early_stop is not None
    assert spec.task.args == {"lr": 1e-3, "sizes": [1, 2]}


def test_the_later_set_wins() -> None:
    assert read(JOB, "training.epochs=5", "training.epochs=6").training.epochs == 6


def test_set_takes_the_place_of_a_faulty_value() -> None:
    assert read(JOB + "  precision: bf17\n", "training.precision=bf16").training.precision == "bf16"


def test_set_changes_one_of_two_aliased_sections() -> None:
    job = JOB.replace("build\n", "build\n  args: {a: &a {x: 1}, b: *a}\n")
    assert read(job, "task.args.a.x=2").task.args == {"a": {"x": 2}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epoch=3", "there is no such key; the keys here are epochs,"),
        ("training.precision=bf17", "'bf17' is not one of auto, fp32, bf16, fp16 (did you mean bf16?)"),
        ("name.x=3", "name is a single value or a list, not a section with keys"),
        ("training.epochs", "not of the form --set section.key=value"),
        ("=3", "not of the form --set section.key=value"),
        ("training..epochs=3", "not of the form --set section.key=value"),
        ("env.A=", "the value is missing"),
        ("env.A=b: c", "not a single value; quote it if it is text"),
        ("env.A=- c", "not a single value; quote it if it is text"),
        ("env.A=@c", "quote the value if it is text"),
        ("env.A=*c", "quote the value if it is text"),
        ("training={epochs: 3, x: 1}", "there is no such key"),
    ],
)
def test_a_faulty_set_is_named_as_it_was_typed(override: str, said: str) -> None:
    message = fault(JOB, override)
    assert message.startswith(f"--set {override}") and said in message


def test_faults_of_options_come_after_those_of_the_file() -> None:
    said = faults(JOB + "  seed: -1\n", "training.log_every=0", "retry.max=-1")
    assert [line.split("=")[0].split(" ")[0] for line in said] == ["jobs/mlp.yaml:6", "--set", "--set"]
