"""The coverage page: which failure mode is caught by which check, how it was planted, and what the run of it said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from envcheck.check import Status
from tests.envcheck.modes import MODES
from tests.envcheck.proof import Proof

PLANTS = {"N": "natural", "F": "fake", "R": "recorded"}
CAUGHT = {Status.FAIL: "FAIL", Status.WARN: "WARN", Status.UNKNOWN: "UNKNOWN", Status.PASS: "PASS, with a word on it"}
HEAD = """# What envcheck catches, and how that was proven

Written by a test run (`UPDATE_COVERAGE=1 python -m pytest tests/envcheck`), not by hand. Each row was run
with the fault planted and without it (which must pass); each check also without the source of its facts (which must be
UNKNOWN).

*natural*: the fault really happened on the machine of the run, which has no GPU: in files, variables, limits, sockets,
namespaces, or two nodes with an sshd each. *fake*: a made-up /proc, /sys, library folder or tool answered, so the row
proves the reading and the decision, not that the hardware tells the truth. *recorded*: lines as machines with that
fault write them, taken from public reports; none was recorded by this project.
"""


def page(proofs: Sequence[Proof], outcomes: Mapping[str, str]) -> str:
    """The page as Markdown; `outcomes` tells for each proof what its run said (`ok`, or what went wrong)."""
    proven = {proof.mode for proof in proofs if outcomes.get(str(proof)) == "ok"}
    checks = {proof.check for proof in proofs}
    lines = [HEAD, f"{len(checks)} checks, {len(proofs)} proofs, {len(proven)} of {len(MODES)} failure modes.\n"]
    lines += ["| mode | failure | check | planted | how | said | run |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for mode, title in MODES.items():
        lines += _rows(mode, title, [proof for proof in proofs if proof.mode == mode], outcomes)
    missing = [f"{mode} ({title})" for mode, title in MODES.items() if mode not in proven]
    lines += ["", f"Not covered: {', '.join(missing) or 'none'}."]
    return "\n".join(lines) + "\n"


def _rows(mode: str, title: str, proofs: Iterable[Proof], outcomes: Mapping[str, str]) -> list[str]:
    return [
        f"| {mode} | {title} | {proof.check} | {PLANTS[proof.plant]} | {proof.how} | {CAUGHT[proof.status]} "
        f"| {outcomes.get(str(proof), 'not run')} |"
        for proof in sorted(proofs, key=lambda one: (one.check, one.how))
    ]
