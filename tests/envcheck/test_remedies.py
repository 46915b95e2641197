"""A remedy can be pasted and does what the fault at hand needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envcheck.check import Verdict
from envcheck.checks.libraries_loaded import torch_can_be_imported
from envcheck.sections.torch import NOT_INSTALLED, Torch
from tests.envcheck.bench import Bench
from tests.envcheck.proofs import PROOFS
from tests.envcheck.test_proofs import verdict

REMEDIES = [
    ("DRV001", "nvidia-smi tells of driver 535 beside a cu130 torch", "whl/cu126"),
    ("DRV011", "nvidia-smi lists 7 of the 8 on the bus", "sudo dmesg | grep -i xid"),
    ("GPU008", "MIG mode without an instance", "-cgi PROFILE -C"),
    ("LIB010", "a torchvision that requires another torch", "pip install --upgrade torchvision torch==2.13.0"),
    ("LIB016", "a torch that wants a later Python", "python3.99 -m venv"),
    ("LIB023", "NCCL 2.28.9 on ARM", "nvidia-nccl-cu13>=2.29.3"),
    ("LIB030", "an NCCL with another digest than its RECORD's", "--no-deps nvidia_nccl_cu13==2.29.7"),
]


@pytest.mark.parametrize(("check", "how", "words"), REMEDIES)
def test_the_remedy_is_the_one_for_this_fault(check: str, how: str, words: str, tmp_path: Path) -> None:
    (proof,) = (each for each in PROOFS if (each.check, each.how) == (check, how))
    assert words in verdict(proof, proof.fault(Bench(tmp_path))).remedy


def test_a_torch_that_is_not_there_is_to_be_installed_and_not_repaired() -> None:
    outcome = torch_can_be_imported(Torch(failure=NOT_INSTALLED))
    assert isinstance(outcome, Verdict) and outcome.values["again"] == ""
