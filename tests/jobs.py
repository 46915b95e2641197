"""A short job file, and how the tests of job files read one."""

import textwrap

import pytest

from launcher import jobfile
from launcher.errors import RequestError
from launcher.spec import JobSpec

JOB = """\
name: mlp
task:
  target: tasks/mlp.py:build
training:
  epochs: 3
"""


def read(text: str, *overrides: str) -> JobSpec:
    return jobfile.parse(textwrap.dedent(text).encode(), source="jobs/mlp.yaml", overrides=overrides)


def faults(text: str | bytes, *overrides: str) -> list[str]:
    encoded = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    with pytest.raises(RequestError) as refused:
        jobfile.parse(encoded, source="jobs/mlp.yaml", overrides=overrides)
    lines = [line.strip() for line in refused.value.message.splitlines()]
    return lines if len(lines) == 1 else lines[1:]


def fault(text: str | bytes, *overrides: str) -> str:
    (only,) = faults(text, *overrides)
    return only
