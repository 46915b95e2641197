import os
from pathlib import Path

import yaml

from launcher import jobfile
from launcher.jobfile import reference

PAGE = Path(__file__).parents[1] / "docs" / "job-file.md"


def test_the_reference_is_what_the_spec_says() -> None:
    if os.environ.get("UPDATE_GOLDEN") == "1":
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(reference.markdown())
    assert PAGE.read_text() == reference.markdown(), (
        "UPDATE_GOLDEN=1 python -m pytest tests/test_reference.py renews it"
    )


def test_every_key_is_explained() -> None:
    unexplained = [
        line for line in reference.markdown().splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
    assert unexplained == []


def test_the_example_is_a_job() -> None:
    example = reference.INTRODUCTION.split("```yaml\n")[1].split("```")[0]
    assert jobfile.parse(example.encode(), source="x").name == yaml.safe_load(example)["name"]
