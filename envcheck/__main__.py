"""`python -m envcheck`: look, judge, report. Exit 0 fit, 3 unfit, 2 a wrong request."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from envcheck import checks, expectation, facts, report
from envcheck.check import Status, judge
from envcheck.collect import collect
from envcheck.machine import Machine
from envcheck.preflight import applicable
from envcheck.sections.need import Need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.check import Check

WRONG_REQUEST = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Prints, and returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in COMMANDS:
            return COMMANDS[words[0]](words[1:])
        return _check(_parser().parse_args(words))
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
    if options.host:
        return _check_hosts(options, chosen)
    seen = facts.load(options.facts) if options.facts else _look(options, chosen)
    if options.expect:
        seen = facts.expecting(seen, expectation.read(options.expect))
    if options.save:
        _save(seen, options.save)
        if str(options.save) == "-":
            return report.FIT
    judged = report.Report(seen, judge(seen, applicable(chosen, seen)), options.strict)
    if options.select:
        _tell_unjudged(chosen, judged)
    if options.json:
        print(json.dumps(report.as_json(judged), indent=2))
    elif options.junit:
        print(report.as_junit(judged), end="")
    else:
        print(report.as_text(judged, colour=sys.stdout.isatty(), verbose=options.verbose))
    return judged.exit_code


def _check_hosts(options: argparse.Namespace, chosen: list[Check]) -> int:
    from envcheck import hosts  # only here: it brings in what the other answers do without

    try:
        found = hosts.examine(options.host, _need(options), chosen, options.strict)
    except hosts.WrongHost as error:
        print(f"envcheck: {error}", file=sys.stderr)
        return WRONG_REQUEST
    if options.save:
        _save(found.together.facts, options.save)
        if str(options.save) == "-":
            return report.FIT
    if options.json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        print(found.as_text(sys.stdout.isatty(), options.verbose))
    return found.exit_code


def _diff(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="envcheck diff", description="Show what differs between two machines' facts.")
    parser.add_argument("left", type=Path)
    parser.add_argument("right", type=Path)
    options = parser.parse_args(words)
    found = list(facts.differences(facts.load(options.left), facts.load(options.right)))
    for place, left, right in found:
        print(f"{place}: {left} -> {right}")
    return report.UNFIT if found else report.FIT


def _can_run(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="envcheck can-run", description="Say offline whether an image runs under a driver and on a GPU."
    )
    parser.add_argument("variant", metavar="images/VARIANT")
    parser.add_argument("--driver", help="the host's driver, as nvidia-smi prints it: 580.95.05")
    parser.add_argument("--gpu", help="a product name (RTX 5090) or a compute capability (12.0)")
    parser.add_argument("--machine", help="x86_64 or aarch64")
    options = parser.parse_args(words)
    wanted = expectation.read(options.variant)
    found = expectation.can_run(wanted, options.driver, options.gpu, options.machine)
    for status, saw in found:
        print(f"{report.MARKS[status]:>6}  {saw}")
    statuses = {status for status, _ in found}
    verdict = {Status.FAIL: "does not run", Status.UNKNOWN: "may run", Status.WARN: "runs with limits"}
    worst = next((status for status in verdict if status in statuses), None)
    print(f"{options.variant} {verdict[worst] if worst else 'runs'} there")
    return report.UNFIT if worst in (Status.FAIL, Status.UNKNOWN) else report.FIT


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"diff": _diff, "can-run": _can_run}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="envcheck",
        description="Say what is wrong with this machine, why it matters and what to type.",
        epilog="Further commands: " + ", ".join(f"envcheck {name}" for name in COMMANDS),
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--junit", action="store_true", help="print the report as JUnit XML")
    form.add_argument("--list", action="store_true", help="list the checks and stop")
    form.add_argument("--explain", metavar="ID", help="say why a check matters and what to do")
    parser.add_argument("--select", type=_words, metavar="FAMILY|ID,...", help="judge by these checks only")
    parser.add_argument("--facts", type=Path, metavar="FILE", help="judge recorded facts instead of this machine")
    parser.add_argument("--save", type=Path, metavar="FILE", help="store the facts (`-`: print them and stop)")
    parser.add_argument("--expect", metavar="images/VARIANT", help="hold the machine against a variant of the images")
    parser.add_argument("--static", action="store_true", help="leave out the tier that imports torch")
    parser.add_argument("--collective", action="store_true", help="also run an all-reduce between processes")
    parser.add_argument(
        "--host", action="append", metavar="HOST", help="look at these hosts over ssh, and compare them"
    )
    parser.add_argument("--strict", action="store_true", help="count WARN and UNKNOWN as unfit")
    parser.add_argument("--verbose", action="store_true", help="show the checks that pass, too")
    need = parser.add_argument_group("what the machine is wanted for")
    need.add_argument("--nodes", type=int, default=1)
    need.add_argument("--procs-per-node", type=int, default=1)
    need.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    need.add_argument("--numerics", choices=["exact", "fast"], default="fast")
    need.add_argument("--run-dir", metavar="DIR")
    need.add_argument("--workdir", metavar="DIR", help="the job's folder, on every host")
    need.add_argument("--path", dest="paths", action="append", metavar="PATH", help="a data set or file of the job")
    need.add_argument("--loader-workers", type=int, default=0)
    need.add_argument("--node-rank", type=int)
    need.add_argument("--rendezvous", dest="rendezvous", type=_endpoint, metavar="HOST:PORT")
    return parser


def _need(options: argparse.Namespace) -> Need:
    names = {field.name for field in dataclasses.fields(Need)}
    told = {name: value for name, value in vars(options).items() if name in names and value is not None}
    told["paths"] = tuple(told.get("paths", ()))
    host, port = options.rendezvous or (None, None)
    return Need(rendezvous_host=host, rendezvous_port=port, **told)


def _tiers(options: argparse.Namespace) -> tuple[str, ...]:
    left_out = {"torch": options.static, "collective": not options.collective}
    return tuple(tier for tier in ("static", "torch", "collective") if not left_out.get(tier))


def _look(options: argparse.Namespace, chosen: list[Check]) -> facts.Facts:
    """Collect; of a selection, only what it looks at, so that asking for one family is quick."""
    only = {section for one in chosen for section in one.requires + one.wishes} if options.select else None
    return collect(Machine(_need(options)), _tiers(options), only)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _tell_unjudged(chosen: list[Check], judged: report.Report) -> None:
    """What was asked for by name and belongs to a tier that was not collected must not look as if it had passed."""
    answered = {result.id for result in judged.results}
    silent = [f"{one.id} (tier {one.tier})" for one in chosen if one.id not in answered]
    if silent:
        print(f"envcheck: not judged: {', '.join(silent)}", file=sys.stderr)


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
