"""Determinism: variables without which two runs of one job cannot give the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.check import Outcome, Status, check

if TYPE_CHECKING:
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need


@check("DET002", remedy="export PYTHONHASHSEED=0", severity=Status.WARN, modes=("F92",))
def hash_seed_is_fixed(environment: Environment, need: Need) -> Outcome:
    """PYTHONHASHSEED is fixed for a job that claims exactness.

    Python salts the hash of text anew in each process, so the order of a set of names differs between ranks and runs.
    """
    value = environment.get("PYTHONHASHSEED", "random")
    if need.numerics == "exact" and not value.isdigit():
        return f"PYTHONHASHSEED is {value!r}: every process orders its sets differently"
    return None
