"""The program of a pod: makes the run folder on the claim (the first pod) or finds it (the others), waits until all
pods can be found by name, and carries the attempt out. Nobody sends it lines: Kubernetes ends pods by signals.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import address, checkpoints, node, processes
from launcher.errors import EnvironmentUnfit, LauncherError, RequestError
from launcher.plan import Plan
from launcher.store import RunFolder
from launcher.wire import Inbox

PATIENCE = 1800.0
"""Seconds from the first pod to the last: images are large, and one machine may have to pull theirs yet."""
TICK = 0.5


def main(request_file: Path) -> int:
    request = json.loads(request_file.read_text())
    rank = address.scheduled_rank()
    try:
        plan = (_begin if rank == 0 else _join)(Plan.from_json(request["plan"]))
        _wait_for_names(request["hosts"])
    except LauncherError as error:
        print(error.message, file=sys.stderr, flush=True)
        return EnvironmentUnfit.exit_code
    return _carry_out({**request, "plan": plan.to_json()})


def _begin(plan: Plan) -> Plan:
    """The attempt with the checkpoint that it starts from, which only pods can see; recorded for the other pods."""
    folder = RunFolder(Path(plan.run_dir))
    try:
        folder.path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EnvironmentUnfit(f"{folder.path}: the claim cannot be written: {error.strerror}") from error
    found = checkpoints.newest_verified(folder.checkpoints, report=lambda fault: _warn(str(fault)))
    plan = dataclasses.replace(plan, resume_from=found[0] if found else plan.resume_from)
    checkpoints.claim(folder.path, plan.attempt)
    folder.begin_attempt(plan)
    return plan


def _join(plan: Plan) -> Plan:
    """The attempt as the first pod has recorded it."""
    folder = RunFolder(Path(plan.run_dir))
    begun: list[Plan] = []

    def look() -> bool:
        try:
            begun[:] = [folder.read_plan()]
        except RequestError:
            return False
        return begun[0].attempt == plan.attempt

    if not _until(look):
        raise EnvironmentUnfit(
            f"{folder.path}: the first pod has not begun it within {PATIENCE:g} s; is the claim ReadWriteMany?"
        )
    return begun[0]


def _wait_for_names(hosts: Sequence[str]) -> None:
    """Names appear with their pods; training that began without one of them would wait for it in silence."""
    missing = list(hosts)

    def look() -> bool:
        missing[:] = [host for host in missing if not _known(host)]
        return not missing

    if not _until(look):
        raise EnvironmentUnfit(f"{missing[0]}: no such pod within {PATIENCE:g} s: {len(missing)} of {len(hosts)} miss")


def _known(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(TICK)
    return True


def _warn(text: str) -> None:
    print(json.dumps({"event": "warning", "text": text}), flush=True)


def _carry_out(request: Mapping[str, Any]) -> int:
    """The attempt, with lines that say where to meet, and then neither end nor go on."""
    processes.adopt_orphans()
    reader, writer = os.pipe()
    os.write(writer, json.dumps({"rendezvous": [request["hosts"][0], request["port"]]}).encode() + b"\n")
    os.set_blocking(reader, False)
    one = node.Node(request, Inbox(reader), None)
    for number in node.SIGNALS:
        signal.signal(number, one.on_signal)
    code = one.run()
    processes.end_descendants()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
