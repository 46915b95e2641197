"""The answer to `--host a --host b`: every host judged by its own facts, and all of them side by side."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from envcheck import checks, cluster, facts, report
from envcheck.cluster import WrongHost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.check import Check, Result
    from envcheck.report import Report
    from envcheck.sections.libraries import Expectation
    from envcheck.sections.need import Need


__all__ = ["HostsReport", "WrongHost", "examine"]


@dataclasses.dataclass(frozen=True)
class HostsReport:
    """One report for each host that answered, and the one of the cluster, in which the silent ones are faults."""

    together: Report
    alone: dict[str, Report]

    @property
    def reports(self) -> list[Report]:
        """Every report, the one of all hosts together last."""
        return [*self.alone.values(), self.together]

    @property
    def results(self) -> list[Result]:
        return [result for one in self.reports for result in one.results]

    @property
    def exit_code(self) -> int:
        return max(one.exit_code for one in self.reports)

    def as_json(self) -> dict[str, Any]:
        hosts = {host: report.as_json(one) for host, one in self.alone.items()}
        return {
            "schema": 1,
            "fit": self.exit_code == report.FIT,
            "cluster": report.as_json(self.together),
            "hosts": hosts,
        }

    def as_text(self, colour: bool, verbose: bool) -> str:
        parts = {**self.alone, "together": self.together}
        return "\n\n".join(
            f"== {name}\n{report.as_text(one, colour, verbose)}" for name, one in parts.items() if one.results
        )


ANSWERING = ("CLU001",)
"""Judged whatever was selected: a host that cannot be looked at must not look as if it had passed."""


def examine(
    hosts: Sequence[str], need: Need, chosen: Sequence[Check], strict: bool, expected: Expectation | None = None
) -> HostsReport:
    """Visit the hosts and judge them by the chosen checks, and by whether they answer. Raises WrongHost.

    Where an image is `expected`, each host is held against it.
    """
    found, alone = cluster.look(hosts, need)
    together = facts.Facts(
        host=f"{len(hosts)} host{'s' * (len(hosts) > 1)}",
        collected_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        tiers=("cluster",),
        sections={"need": need, "cluster": found},
    )
    if expected:
        alone = {host: facts.expecting(seen, expected) for host, seen in alone.items()}
    answering = [one for one in checks.select(ANSWERING) if one not in chosen]
    return HostsReport(
        report.judged(together, [*answering, *chosen], strict),
        {host: report.judged(seen, chosen, strict) for host, seen in alone.items()},
    )
