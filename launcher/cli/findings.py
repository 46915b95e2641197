"""The questions that two runs were asked, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from launcher.comparison import Finding
from launcher.errors import printable


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"{finding.question + '?':24} {finding.answer:8} {printable(finding.detail)}".rstrip()
