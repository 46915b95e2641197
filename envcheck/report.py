"""Results as text, JSON and JUnit, and the exit code they mean."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from envcheck import facts as facts_module
from envcheck.check import Status, applicable, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from envcheck.check import Check, Result
    from envcheck.facts import Facts

FIT, UNFIT = 0, 3
MARKS = {Status.FAIL: "FAIL", Status.WARN: "WARN", Status.UNKNOWN: "????", Status.PASS: "ok"}
COLOURS = {Status.FAIL: "31", Status.WARN: "33", Status.UNKNOWN: "36", Status.PASS: "32"}
WORST_FIRST = list(Status)
NOTHING = "nothing to judge"
NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Report:
    """The facts of one machine and what every check said of them."""

    facts: Facts
    results: Sequence[Result]
    strict: bool = False
    """Count WARN and UNKNOWN as unfit."""

    @property
    def fit(self) -> bool:
        unfit = {Status.FAIL, Status.WARN, Status.UNKNOWN} if self.strict else {Status.FAIL}
        return not any(result.status in unfit for result in self.results)

    @property
    def exit_code(self) -> int:
        return FIT if self.fit else UNFIT

    def count(self, status: Status) -> int:
        return sum(result.status is status for result in self.results)


def judged(facts: Facts, chosen: Iterable[Check], strict: bool = False) -> Report:
    """What those of the chosen checks say whose tier was collected."""
    return Report(facts, judge(facts, applicable(chosen, facts)), strict)


def as_json(report: Report, with_facts: bool = True) -> dict[str, Any]:
    """The report by the published schema (docs/envcheck.md)."""
    document: dict[str, Any] = {
        "schema": 1,
        "host": report.facts.host,
        "fit": report.fit,
        "counts": {status.value: report.count(status) for status in WORST_FIRST},
        "results": [result.as_json() for result in report.results],
    }
    if with_facts:
        document["facts"] = facts_module.as_json(report.facts)
    return document


def as_text(report: Report, colour: bool = False, verbose: bool = False) -> str:
    """A table grouped by family, the worst first, each with what to type; passes are counted unless `verbose`."""
    lines = [_headline(report.facts), ""]
    for family in dict.fromkeys(result.family for result in report.results):
        lines += [*_family(family, [one for one in report.results if one.family == family], colour, verbose), ""]
    return "\n".join([*lines, _verdict(report, colour)])


def as_junit(reports: Iterable[Report]) -> str:
    """A suite for each report, in it one test case a check.

    FAIL is a failure, where the report is strict WARN and UNKNOWN too; otherwise UNKNOWN is skipped.
    """
    suites = ElementTree.Element("testsuites")
    for report in reports:
        _add_suite(suites, report)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _add_suite(suites: ElementTree.Element, report: Report) -> None:
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=f"envcheck {report.facts.host}",
        tests=str(len(report.results)),
        failures=str(sum(_junit_kind(report, one) == "failure" for one in report.results)),
        skipped=str(sum(_junit_kind(report, one) == "skipped" for one in report.results)),
    )
    for result in report.results:
        case = ElementTree.SubElement(suite, "testcase", classname=f"envcheck.{result.family}", name=result.id)
        kind = _junit_kind(report, result)
        if kind:
            saw = NOT_IN_XML.sub("?", result.saw)  # a command's own words may hold anything
            ElementTree.SubElement(case, kind, message=saw).text = NOT_IN_XML.sub("?", result.remedy) or None


def _junit_kind(report: Report, result: Result) -> str:
    if result.status is Status.FAIL or (report.strict and result.status is not Status.PASS):
        return "failure"
    return "skipped" if result.status is Status.UNKNOWN else ""


def _headline(facts: Facts) -> str:
    host, torch, gpus = facts.get("host"), facts.get("torch"), facts.get("gpus")
    words = [facts.host, facts.note]
    if host:
        words += [host.system, f"Linux {host.kernel}"]
    if torch and torch.version:
        words.append(f"torch {torch.version}")
    if gpus:
        models = [device.name for device in gpus.devices]
        words += [f"{models.count(name)} x {name}" for name in dict.fromkeys(models)] or ["no GPU"]
    return " · ".join(word for word in words if word)


def _family(family: str, results: list[Result], colour: bool, verbose: bool) -> Iterator[str]:
    passed = sum(result.status is Status.PASS for result in results)
    idle = sum(result.saw.endswith(NOTHING) for result in results)
    told = f"{passed} of {len(results)} pass" + (f", {idle} of them with {NOTHING}" if idle else "")
    yield _painted(f"{family} ({told})", "1", colour)
    shown = [result for result in results if verbose or result.status is not Status.PASS]
    for alike in _alike(sorted(shown, key=lambda one: (WORST_FIRST.index(one.status), one.id))):
        result = alike[0]
        mark = _painted(f"{MARKS[result.status]:>6}", COLOURS[result.status], colour)
        yield f"{mark}  {result.id}  {f'and {_ids(alike[1:])}' if alike[1:] else result.title}"
        if result.saw:
            yield f"{'':16}{result.saw}"
        if result.remedy:
            yield f"{'':16}-> {result.remedy}"


def _alike(results: list[Result]) -> Iterator[list[Result]]:
    """Checks that could not see for one and the same reason are told in one line."""
    groups: dict[object, list[Result]] = {}
    for result in results:
        groups.setdefault(result.saw if result.status is Status.UNKNOWN else result.id, []).append(result)
    yield from groups.values()


def _ids(results: list[Result]) -> str:
    return " ".join(result.id for result in results)


def _verdict(report: Report, colour: bool) -> str:
    counts = ", ".join(f"{report.count(status)} {status.value}" for status in WORST_FIRST if report.count(status))
    word, paint = ("fit", "32") if report.fit else ("unfit", "31")
    return f"{_painted(word.upper(), paint, colour)}: {counts or 'no check was selected'}"


def _painted(text: str, colour: str, wanted: bool) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted else text
