"""What the look at two nodes before a run costs, over real sshd's, and how long one waits for a node that hangs.

    python tests/benchmarks/look.py [rounds]

Prints the seconds of the first look, of the fastest and the middle one over connections that stand, and those to the
refusal of a node that answers nothing, under the default deadline; with the load of the machine. Judges nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from launcher import address  # noqa: E402
from launcher.backends import connection  # noqa: E402
from launcher.cluster import fitness, survey  # noqa: E402
from launcher.cluster.survey import Look  # noqa: E402
from launcher.errors import EnvironmentUnfit  # noqa: E402
from launcher.spec import LookSpec, SshOptions  # noqa: E402
from tests.cluster.lab import NODES, Lab  # noqa: E402

WORDS = fitness.Words(python="", interface="", share="")


def main(rounds: int) -> None:
    lab = Lab()
    try:
        first, *more = [_look(lab, sys.executable) for _ in range(rounds + 1)]
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"first look {first:.2f} s, fastest {min(more):.2f} s, middle {statistics.median(more):.2f} s")
        lab.ssh("node-a", f"ln -s {sys.executable} {lab.local}/python")
        lab.ssh("node-b", f"printf '#!/bin/sh\nexec sleep 3600' > {lab.local}/python; chmod +x {lab.local}/python")
        print(f"a node that hangs is refused after {_look(lab, f'{lab.local}/python'):.2f} s")
    finally:
        lab.close()


def _look(lab: Lab, python: str) -> float:
    settings = SshOptions(hosts=NODES, config=str(lab.ssh_config))
    began = time.monotonic()
    routes = connection.routes(settings, patience=4)
    wanted = Look(seconds=LookSpec().seconds, python=python, bind=[address.REACHED] * 2, code=(str(ROOT / "launcher"),))
    try:
        seen = survey.look(routes, wanted, meet=True)
        list(fitness.of_all(NODES, seen, WORDS))
    except EnvironmentUnfit as refusal:
        print(refusal.message)
    return time.monotonic() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
