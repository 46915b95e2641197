"""All readers of a job agree: the quick one, the validator and the schema; and any bytes get an answer."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import jobfile, typed
from launcher.errors import RequestError
from launcher.jobfile import validator
from launcher.jobfile.wording import keys, section_of
from launcher.spec import JobSpec
from tests.jobs import JOB, faults


def accepts(schema: dict[str, object], job: object) -> bool:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema)
    return bool(Draft202012Validator(schema).is_valid(job))


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True), ({"name": "a b"}, False), ({"training": {"steps": 3, "epochs": None}}, True), ({"x": 1}, False),
        ({"training": {"steps": 3, "epochs": 3}}, False), ({"training": {}}, False), ({"backend": "slrm"}, False),
        ({"resources": {"nodes": 0}}, False),
    ],
)  # fmt: skip
def test_the_schema_and_the_reader_agree(change: dict[str, object], valid: bool) -> None:
    job = {"name": "mlp", "task": {"target": "a.py:f"}, "training": {"epochs": 3}, **change}
    assert accepts(jobfile.schema(), job) is valid
    if valid:
        jobfile.parse(json.dumps(job).encode(), source="x")
    else:
        faults(json.dumps(job))


WORDS = re.findall(r"\S+", "name training task env epochs - { } [ ] &a *a !!x ' | > 1e-3 010 null # << --- ... é")
pieces = st.sampled_from([*WORDS, '"', ": ", ":\n  ", "\n", ", ", " ", "\t", "%YAML 9", "\x85", "\u2028", "\ufeff"])


VALUES = (
    None,
    True,
    0,
    1,
    -1,
    1.5,
    2**70,
    "",
    "auto",
    "epoch",
    "cuda",
    "x" * 65,
    [],
    ["a"],
    [1],
    {},
    {"a": 1},
    {"a": "b"},
)


def test_a_job_is_read_without_the_validator_as_with_it() -> None:
    """The quick reader takes what the validator takes, and makes the same of it."""
    whole = {"name": "n", "task": {"target": "a.py:f"}, "training": {}}
    for path in every_key(JobSpec):
        for value in VALUES:
            job = json.loads(json.dumps(whole))
            section = job
            for key in path[:-1]:
                section = section.setdefault(key, {"metric": "m"} if key in ("best", "early_stop") else {})
            section[path[-1]] = value
            try:
                quick: JobSpec | None = typed.read(JobSpec, job)
            except typed.Misfit:
                quick = None
            assert quick == validator.read(JobSpec, job)[0], (path, value)


def every_key(section: type, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, annotation in keys(section).items():
        yield (*above, key)
        if inner := section_of(annotation):
            yield from every_key(inner, (*above, key))


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=40).map(lambda parts: "".join(parts).encode()))
)
@example(text=b"? a\n? b\n")
@example(text=b"name: \xc2\x85x")
def test_any_bytes_are_a_job_or_a_refusal(text: bytes) -> None:
    try:
        assert isinstance(jobfile.parse(text, source="x"), JobSpec)
    except RequestError as refused:
        assert refused.message


@settings(max_examples=200, deadline=None)
@given(
    override=st.one_of(st.text(max_size=60), st.lists(pieces, max_size=8).map(lambda parts: "env.A=" + "".join(parts)))
)
@example(override="task.args.\udcff=1")
@example(override="env.A=\udcff")
def test_any_option_is_a_job_or_a_refusal(override: str) -> None:
    try:
        assert isinstance(jobfile.parse(JOB.encode(), source="x", overrides=[override]), JobSpec)
    except RequestError as refused:
        assert "--set" in refused.message
