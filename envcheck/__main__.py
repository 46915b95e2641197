"""`python -m envcheck`: look, judge, report. Exit 0 fit, 3 unfit, 2 a wrong request."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from envcheck import checks, expectation, facts, report
from envcheck import options as command_line
from envcheck.check import Status
from envcheck.collect import collect
from envcheck.machine import Machine
from envcheck.sections.need import Need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envcheck.check import Check, Result
    from envcheck.sections.libraries import Expectation

WRONG_REQUEST = 2
PIPE_CLOSED = 141
"""What a shell reports for a program that SIGPIPE ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Prints, and returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        known = bool(words) and words[0] in COMMANDS
        exit_code = COMMANDS[words[0]](words[1:]) if known else _check(command_line.parse(words))
        sys.stdout.flush()
        return exit_code
    except BrokenPipeError:  # who reads, `head` for one, has seen enough: nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (checks.UnknownSelection, facts.FactsError, expectation.NoSuchVariant) as error:
        print(f"envcheck: {error}", file=sys.stderr)
        return WRONG_REQUEST
    except SystemExit as stop:  # argparse has printed
        return stop.code if isinstance(stop.code, int) else WRONG_REQUEST


def _check(options: argparse.Namespace) -> int:
    chosen = checks.select(options.select) if options.select else checks.every_check()
    if options.list:
        return _print_list(chosen)
    if options.explain:
        return _print_reason(checks.select([options.explain]))
    wanted = expectation.read(options.expect) if options.expect else None
    if options.host:
        return _check_hosts(options, chosen, wanted)
    seen = _recorded(options) if options.facts else _look(options, chosen)
    if wanted:
        seen = facts.expecting(seen, wanted)
    if options.save:
        _save(seen, options.save)
        if str(options.save) == "-":
            return report.FIT
    found = report.judged(seen, chosen, options.strict)
    if options.select and not _tell_unjudged(chosen, found.results):
        return WRONG_REQUEST
    if options.json:
        print(json.dumps(report.as_json(found), indent=2))
    elif options.junit:
        print(report.as_junit([found]), end="")
    else:
        print(report.as_text(found, colour=sys.stdout.isatty(), verbose=options.verbose))
    return found.exit_code


def _check_hosts(options: argparse.Namespace, chosen: list[Check], wanted: Expectation | None) -> int:
    from envcheck import hosts  # only here: it brings in what the other answers do without

    try:
        found = hosts.examine(options.host, Need(**command_line.need(options)), chosen, options.strict, wanted)
    except hosts.WrongHost as error:
        print(f"envcheck: {error}", file=sys.stderr)
        return WRONG_REQUEST
    if options.save:
        _save(found.together.facts, options.save)
        if str(options.save) == "-":
            return report.FIT
    if options.select:
        _tell_unjudged(chosen, found.results)
    if options.json:
        print(json.dumps(found.as_json(), indent=2))
    elif options.junit:
        print(report.as_junit(found.reports), end="")
    else:
        print(found.as_text(sys.stdout.isatty(), options.verbose))
    return found.exit_code


def _diff(words: Sequence[str]) -> int:
    options = command_line.parser("diff").parse_args(words)
    found = list(facts.differences(facts.load(options.left), facts.load(options.right)))
    for place, left, right in found:
        print(f"{place}: {left} -> {right}")
    return report.UNFIT if found else report.FIT


def _can_run(words: Sequence[str]) -> int:
    options = command_line.parser("can-run").parse_args(words)
    wanted = expectation.read(options.variant)
    found = expectation.can_run(wanted, options.driver, options.gpu, options.machine)
    for status, saw in found:
        print(f"{report.MARKS[status]:>6}  {saw}")
    worst = next(status for status in ANSWERS if status in {one for one, _ in found})
    word, tail, exit_code = ANSWERS[worst]
    print(f"{word}: {options.variant} {tail}")
    return exit_code


ANSWERS = {
    Status.FAIL: ("UNFIT", "does not run there", report.UNFIT),
    Status.UNKNOWN: ("UNKNOWN", "may run there", report.UNFIT),
    Status.WARN: ("FIT", "runs there with limits", report.FIT),
    Status.PASS: ("FIT", "runs there", report.FIT),
}
"""What the findings about an image on a machine come to: the first of these that is among them."""


def _bundle(words: Sequence[str]) -> int:
    command_line.parser("bundle").parse_args(words)
    from envcheck import bundle  # only here: it brings in what the other answers do without

    print(bundle.program(), end="")
    return report.FIT


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"diff": _diff, "can-run": _can_run, "bundle": _bundle}


def _tiers(options: argparse.Namespace) -> tuple[str, ...]:
    left_out = {"torch": options.static, "collective": not options.collective}
    return tuple(tier for tier in ("static", "torch", "collective") if not left_out.get(tier))


def _look(options: argparse.Namespace, chosen: list[Check]) -> facts.Facts:
    """Collect; of a selection, only what it looks at, so that asking for one family is quick."""
    only = {section for one in chosen for section in one.requires + one.wishes} if options.select else None
    return collect(Machine(Need(**command_line.need(options))), _tiers(options), only)


def _recorded(options: argparse.Namespace) -> facts.Facts:
    """Another machine's facts; what it is wanted for may be told anew."""
    seen = facts.load(options.facts)
    recorded = seen.get("need") or Need()
    return seen.with_section("need", dataclasses.replace(recorded, **command_line.need(options)))


def _tell_unjudged(chosen: list[Check], results: Iterable[Result]) -> bool:
    """Name on standard error what was asked for and was not looked at; whether anything was."""
    answered = {result.id for result in results}
    silent = [f"{one.id} (tier {one.tier})" for one in chosen if one.id not in answered]
    if silent:
        print(f"envcheck: {'not judged' if answered else 'nothing was checked'}: {', '.join(silent)}", file=sys.stderr)
    return bool(answered)


def _print_list(chosen: list[Check]) -> int:
    for one in chosen:
        print(f"{one.id}  {one.family:<12} {one.title}")
    return 0


def _print_reason(chosen: list[Check]) -> int:
    for one in chosen:
        print(f"{one.id} ({one.family}): {one.title}\n")
        if one.reason:
            print(f"{one.reason}\n")
        print(f"remedy: {one.remedy}\nlooks at: {', '.join(one.requires + one.wishes)}")
        print(f"failure modes: {', '.join(one.modes) or 'none of the list'}")
    return 0


def _save(seen: facts.Facts, path: Path) -> None:
    text = json.dumps(facts.as_json(seen), indent=1) + "\n"
    if str(path) == "-":
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise facts.FactsError(f"{path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
