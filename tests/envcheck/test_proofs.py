"""Every check is proven three times: its fault is caught, its healthy twin passes, a missing source is UNKNOWN."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envcheck.check import REGISTRY, Result, Status, judge
from envcheck.facts import Facts
from envcheck.report import NOTHING
from tests.envcheck.bench import Bench
from tests.envcheck.proof import Proof
from tests.envcheck.proofs import PROOFS

TOLD = {"need"}
"""Sections that are told and not seen, so that they cannot be missing."""


def verdict(proof: Proof, facts: Facts) -> Result:
    return judge(facts, [proof.judged])[0]


@pytest.mark.parametrize("proof", PROOFS, ids=str)
def test_the_planted_fault_is_caught(proof: Proof, tmp_path: Path) -> None:
    result = verdict(proof, proof.fault(Bench(tmp_path)))
    assert (result.status, proof.saw in result.saw) == (proof.status, True), result
    assert (result.remedy != "") is (proof.status in (Status.FAIL, Status.WARN))
    assert not re.search(r"[{}]|\bNone\b", result.remedy), "the remedy was not filled in"


@pytest.mark.parametrize("proof", PROOFS, ids=str)
def test_the_healthy_twin_passes(proof: Proof, tmp_path: Path) -> None:
    result = verdict(proof, proof.healthy(Bench(tmp_path)))
    assert (result.status, proof.saw in result.saw) == (Status.PASS, False), result
    assert not result.saw.endswith(NOTHING), "the twin must be judged, not passed over"


@pytest.mark.parametrize("identity", sorted(REGISTRY))
def test_a_missing_source_is_unknown(identity: str) -> None:
    everything_absent = Facts(host="blind", collected_at="")
    for section in set(REGISTRY[identity].requires) - TOLD:
        result = judge(everything_absent.without(section, "planted"), [REGISTRY[identity]])[0]
        assert result.status is Status.UNKNOWN


def test_every_check_has_a_proof() -> None:
    assert {proof.check for proof in PROOFS} == set(REGISTRY)


@pytest.mark.parametrize("identity", sorted(REGISTRY))
def test_every_failure_mode_a_check_claims_is_proven(identity: str) -> None:
    assert {proof.mode for proof in PROOFS if proof.check == identity} == set(REGISTRY[identity].modes)
