"""The answer to `--host a --host b`: every host judged by its own facts, and all of them side by side."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from envcheck import cluster, facts, report
from envcheck.check import judge
from envcheck.cluster import WrongHost
from envcheck.preflight import applicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.check import Check
    from envcheck.facts import Facts
    from envcheck.report import Report
    from envcheck.sections.need import Need


__all__ = ["HostsReport", "WrongHost", "examine"]


@dataclasses.dataclass(frozen=True)
class HostsReport:
    """One report for each host that answered, and the one of the cluster, in which the silent ones are faults."""

    together: Report
    alone: dict[str, Report]

    @property
    def exit_code(self) -> int:
        return max(one.exit_code for one in [self.together, *self.alone.values()])

    def as_json(self) -> dict[str, Any]:
        hosts = {host: report.as_json(one) for host, one in self.alone.items()}
        return {
            "schema": 1,
            "fit": self.exit_code == report.FIT,
            "cluster": report.as_json(self.together),
            "hosts": hosts,
        }

    def as_text(self, colour: bool, verbose: bool) -> str:
        parts = [f"== {host}\n{report.as_text(one, colour, verbose)}\n" for host, one in self.alone.items()]
        return "\n".join([*parts, f"== together\n{report.as_text(self.together, colour, verbose)}"])


def examine(hosts: Sequence[str], need: Need, chosen: Sequence[Check], strict: bool) -> HostsReport:
    """Visit the hosts and judge them by the chosen checks. Raises cluster.WrongHost."""
    found, alone = cluster.look(hosts, need)
    together = facts.Facts(
        host=f"{len(found.nodes)} hosts",
        collected_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        tiers=("cluster",),
        sections={"need": need, "cluster": found},
    )

    def judged(seen: Facts) -> Report:
        return report.Report(seen, judge(seen, applicable(chosen, seen)), strict)

    return HostsReport(judged(together), {host: judged(seen) for host, seen in alone.items()})
