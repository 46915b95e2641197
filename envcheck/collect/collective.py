"""The `collective` section: envcheck.collective under torchrun, in processes of their own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from envcheck.facts import FactsError, decode
from envcheck.machine import Absent, module_argv
from envcheck.sections.collective import Collective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine
    from envcheck.sections.need import Need

SECONDS = 170.0
MEETING_SECONDS = 90
TELLING = ("Error", "error:", "Exception", "failed", "Unable to")
PLAIN_WORDS = {
    "RendezvousTimeoutError": f"not every node came to {{place}} within {MEETING_SECONDS} s",
    "gaierror": "the name in {place}, where the nodes meet, stands for no address here",
}
"""torchrun's errors that do not say what is wrong."""


def collect(machine: Machine) -> Collective:
    argv = [sys.executable, "-m", "torch.distributed.run", *_shape(machine), "--no-python"]
    device = ["env", "ENVCHECK_DEVICE=cpu"] if machine.need.device == "cpu" else []
    answer = machine.run([*argv, *device, *module_argv("envcheck.collective")], SECONDS)
    result = next((line for line in answer.stdout.splitlines() if line.startswith('{"failure"')), None)
    if result is None and answer.returncode == 0:
        if machine.need.node_rank:
            raise Absent("node 0 has the result")
        return Collective(failure="torchrun ended well, but no result came")
    if result is None:
        reason = _reason(answer.stderr, _place(machine.need))
        return Collective(failure=reason or f"torchrun ended with {answer.returncode}")
    try:
        found: Collective = decode(Collective, json.loads(result), "collective")
    except (FactsError, ValueError) as error:
        raise Absent(f"the result cannot be read: {error}") from None
    return found


def _shape(machine: Machine) -> list[str]:
    need = machine.need
    processes = str(need.procs_per_node if need.procs_per_node > 1 else _processes(machine))
    nodes = "1" if need.on_one_machine else str(need.nodes)
    return ["--nnodes", nodes, "--nproc-per-node", processes, *_meeting(need)]


def _meeting(need: Need) -> Iterator[str]:
    yield from ("--rdzv-backend", "c10d", "--rdzv-id", "envcheck", "--rdzv-conf", f"join_timeout={MEETING_SECONDS}")
    if need.on_one_machine:
        # Not --standalone: it waits minutes for this machine's own name, which a container without a network lacks.
        yield from ("--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1")
    else:
        yield from ("--rdzv-endpoint", _place(need))


def _place(need: Need) -> str:
    return f"{need.rendezvous_host or 'localhost'}:{need.rendezvous_port or 29500}"


def _processes(machine: Machine) -> int:
    """One for each GPU; two where there is none, because one alone has nobody to talk to."""
    if machine.need.device == "cpu":
        return 2
    cards = [name for name in machine.names("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    visible = machine.environ.get("CUDA_VISIBLE_DEVICES")
    return len(cards if visible is None else [one for one in visible.split(",") if one.strip()]) or 2


def _reason(stderr: str, place: str) -> str:
    """The first line that tells a reason: later ones are consequences in other ranks and in torchrun."""
    lines = [line.strip() for line in stderr.splitlines()]
    telling = [
        line for line in lines if any(word in line for word in TELLING) and not line.startswith(("File", "raise"))
    ]
    first = next((line.partition("]: ")[2] or line for line in telling), lines[-1] if lines else "")
    plain = next((words for error, words in PLAIN_WORDS.items() if error in first), None)
    return plain.format(place=place) if plain else first
