"""The coverage page is the one a run of the proofs as they are would write, and covers what was promised."""

from __future__ import annotations

import os

import pytest

from tests.envcheck.bench import REPOSITORY
from tests.envcheck.coverage import page
from tests.envcheck.modes import MODES
from tests.envcheck.proofs import PROOFS

PAGE = REPOSITORY / "docs" / "envcheck-coverage.md"


@pytest.mark.skipif(os.environ.get("UPDATE_COVERAGE") == "1", reason="this run writes the page")
def test_the_page_is_current() -> None:
    every_proof_holds = {str(proof): "ok" for proof in PROOFS}
    renew = "renew it: UPDATE_COVERAGE=1 python -m pytest tests/envcheck"
    assert PAGE.read_text(encoding="utf-8") == page(PROOFS, every_proof_holds), renew


def test_no_two_proofs_have_one_name() -> None:
    names = [str(proof) for proof in PROOFS]
    assert sorted(set(names)) == sorted(names)


def test_every_proven_mode_is_of_the_list() -> None:
    assert {proof.mode for proof in PROOFS} <= set(MODES)
