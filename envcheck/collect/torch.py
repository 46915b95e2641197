"""The `torch` section: envcheck.probe in a child process, so that a torch that cannot be imported is a fact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from envcheck.facts import FactsError, decode
from envcheck.machine import Absent
from envcheck.sections.torch import Torch

if TYPE_CHECKING:
    from envcheck.machine import Machine

SECONDS = 170.0


def collect(machine: Machine) -> Torch:
    answer = machine.run_module("envcheck.probe", SECONDS)
    if answer.returncode != 0:
        last = (answer.stderr.strip() or "nothing on its standard error").splitlines()[-1]
        return Torch(failure=f"the process that imports torch ended with {answer.returncode}: {last}")
    try:
        found: Torch = decode(Torch, json.loads(answer.stdout.strip().splitlines()[-1]), "probe")
    except (FactsError, ValueError, IndexError) as error:
        raise Absent(f"the probe's answer cannot be read: {error}") from None
    return found
