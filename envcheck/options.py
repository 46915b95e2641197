"""The options of the command line, and what is wrong with a combination of them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from envcheck.sections.need import Need

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTRADICTIONS = [
    ("host", "facts", "hosts are looked at now, facts were recorded before"),
    ("host", "collective", "hosts are looked at over ssh, by their static tier"),
    ("facts", "collective", "recorded facts bring their own tiers"),
    ("facts", "static", "recorded facts bring their own tiers"),
]
"""Options of which one would be left aside without a word."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the options. Ends with exit 2 and a sentence."""
    reader = parser()
    options = reader.parse_args(words)
    for one, other, why in CONTRADICTIONS:
        if getattr(options, one) and getattr(options, other):
            reader.error(f"--{other} does not go with --{one}: {why}")
    nodes = options.nodes or 1
    if options.node_rank is not None and options.node_rank >= nodes:
        reader.error(f"--node-rank {options.node_rank} is not one of --nodes {nodes}: they count from 0")
    return options


def parser(command: str = "") -> argparse.ArgumentParser:
    """What reads the words of envcheck, or of one of its further commands."""
    description, example, add_arguments = COMMANDS[command]
    reader = argparse.ArgumentParser(
        prog=f"envcheck {command}".rstrip(), description=description, epilog=f"Example: {example}"
    )
    add_arguments(reader)
    return reader


def need(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Need` that the options tell: what the machine is wanted for."""
    names = {field.name for field in dataclasses.fields(Need)}
    told = {name: value for name, value in vars(options).items() if name in names and value is not None}
    if options.rendezvous:
        told["rendezvous_host"], told["rendezvous_port"] = options.rendezvous
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def _add_check(parser: argparse.ArgumentParser) -> None:
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
    _add_need(parser.add_argument_group("what the machine is wanted for"))


def _add_need(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--nodes", type=_whole_number(1), metavar="N", help="how many machines the job takes")
    group.add_argument("--procs-per-node", type=_whole_number(1), metavar="N", help="processes on each")
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], help="what the job trains on")
    group.add_argument("--numerics", choices=["exact", "fast"], help="whether it must give the same bits again")
    group.add_argument("--run-dir", metavar="DIR", help="where its runs are recorded")
    group.add_argument("--workdir", metavar="DIR", help="the job's folder, on every host")
    group.add_argument("--path", dest="paths", action="append", metavar="PATH", help="a data set or file of the job")
    group.add_argument("--loader-workers", type=_whole_number(0), metavar="N", help="loader processes of each process")
    group.add_argument("--node-rank", type=_whole_number(0), metavar="N", help="which of the machines this is, from 0")
    group.add_argument("--rendezvous", type=_endpoint, metavar="HOST:PORT", help="where its processes find each other")


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("left", type=Path, metavar="LEFT", help="facts that --save stored")
    parser.add_argument("right", type=Path, metavar="RIGHT", help="those of the other machine")


def _add_can_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="images/VARIANT", help="one that `launcher images list` shows")
    parser.add_argument("--driver", metavar="VERSION", help="the host's driver, as nvidia-smi prints it: 580.95.05")
    parser.add_argument("--gpu", metavar="NAME", help="a product name (RTX 5090) or a compute capability (12.0)")
    parser.add_argument("--machine", metavar="NAME", help="x86_64 or aarch64")


COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "": (
        "Say what is wrong with this machine, why it matters and what to type. Exit codes: 0 fit, 3 unfit, 2 a wrong "
        "request. Further commands, each with its own --help: envcheck diff, envcheck can-run, envcheck bundle.",
        "launcher envcheck --select driver,DET001 --verbose",
        _add_check,
    ),
    "diff": (
        "Show what differs between two machines' facts: a line each. Exit 3 where anything does.",
        "launcher envcheck diff here.json there.json",
        _add_diff,
    ),
    "can-run": (
        "Say offline whether an image runs under a driver and on a GPU. Exit 3 where it does not, or where too little "
        "was told to know.",
        'launcher envcheck can-run images/cu128 --driver 535.104 --gpu "RTX 5090"',
        _add_can_run,
    ),
    "bundle": (
        "Print envcheck as one file for a node that has nothing but Python 3.9 or later.",
        "launcher envcheck bundle > envcheck.py; ssh NODE python3 - --static < envcheck.py",
        lambda parser: None,
    ),
}
"""Of envcheck and its further commands: what each does, an example, and what adds its arguments."""


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r} names no family and no check; --list shows them")
    return words


def _whole_number(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return read


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
