"""Records out of JSON: what fits comes through, what does not is named."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from launcher import typed
from launcher.bounds import at_least


@dataclass(frozen=True, kw_only=True)
class Inner:
    sizes: tuple[int, ...] = ()
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    count: Annotated[int, at_least(1)] = 1
    inner: Inner = field(default_factory=Inner)
    free: dict[str, Any] = field(default_factory=dict)


def test_a_record_comes_back_with_all_within_it() -> None:
    document = {"name": "n", "inner": {"sizes": [1, 2], "rate": 1}, "free": {"x": [None]}}
    assert typed.read(Outer, document) == Outer(name="n", inner=Inner(sizes=(1, 2), rate=1.0), free={"x": [None]})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "the document: '[]' is not Outer"),
        ({}, "the document: .*name"),
        ({"name": 1}, "name: '1' is not str"),
        ({"name": "n", "kind": "c"}, "kind: 'c' is not one of a, b"),
        ({"name": "n", "count": True}, "count: 'True' is not int"),
        ({"name": "n", "count": 0}, "count: '0' is out of bounds"),
        ({"name": "n", "inner": {"sizes": [1, "x"]}}, r"inner.sizes\[1\]: 'x' is not int"),
        ({"name": "n", "inner": {"rate": "x"}}, "inner.rate: 'x' is not"),
        ({"name": "n", "inner": {"rate": 10**400}}, "inner.rate: '1000.*' is not"),
        ({"name": "n", "other": 1}, "other: there is no such field"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(document: object, said: str) -> None:
    with pytest.raises(typed.Misfit, match=said.replace("'[]'", r"'\[\]'")):
        typed.read(Outer, document)


def test_of_a_damaged_document_the_values_that_fit_are_kept() -> None:
    assert typed.fitting(Outer, {"name": "n", "count": "x", "kind": [], "other": 1}) == {"name": "n"}
