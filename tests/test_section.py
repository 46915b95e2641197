"""A section of a job file: a frozen dataclass whose methods are written once."""

import copy
import dataclasses
import pickle

import pytest

from launcher.spec import Best, EarlyStop, SshOptions, TaskSpec

BEST = Best(metric="loss")


def test_sections_of_one_kind_and_content_are_equal() -> None:
    assert BEST == Best(metric="loss", mode="min") != Best(metric="loss", mode="max")
    assert len({BEST, Best(metric="loss")}) == 1
    assert EarlyStop(metric="loss") != dataclasses.replace(BEST, mode="min")


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BEST.mode = "max"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del BEST.mode


def test_a_section_is_made_of_its_own_names_and_of_all_it_needs() -> None:
    with pytest.raises(TypeError, match="Best has no metrics"):
        Best(metrics="loss")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="metric is missing"):
        Best()  # type: ignore[call-arg]


def test_two_sections_share_no_default() -> None:
    assert TaskSpec(target="a.py:b").args is not TaskSpec(target="a.py:b").args


def test_a_section_is_copied_replaced_and_shown_as_any_dataclass() -> None:
    assert copy.deepcopy(BEST) == pickle.loads(pickle.dumps(BEST)) == BEST  # noqa: S301
    assert dataclasses.asdict(dataclasses.replace(BEST, mode="max")) == {"metric": "loss", "mode": "max"}
    assert repr(BEST) == "Best(metric='loss', mode='min')"
    assert SshOptions().hosts == ()
