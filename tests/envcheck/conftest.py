"""Notes what each proof's run said and, when asked by UPDATE_COVERAGE=1, writes the coverage page from it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.envcheck.bench import REPOSITORY
from tests.envcheck.coverage import page
from tests.envcheck.proof import Proof
from tests.envcheck.proofs import PROOFS

PAGE = REPOSITORY / "docs" / "envcheck-coverage.md"
OUTCOMES: dict[str, str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    proof = getattr(item, "callspec", None) and item.callspec.params.get("proof")
    if isinstance(proof, Proof) and (report.when == "call" or report.outcome != "passed"):
        said = "ok" if report.passed else f"{item.originalname}: {report.outcome}"
        OUTCOMES[str(proof)] = said if OUTCOMES.get(str(proof), "ok") == "ok" else OUTCOMES[str(proof)]
    return report


def pytest_sessionfinish() -> None:
    if os.environ.get("UPDATE_COVERAGE") == "1":
        PAGE.write_text(page(PROOFS, OUTCOMES), encoding="utf-8")
