"""The program that looks at a node before a run. It is sent over the connection as text (`survey` does), so that it
needs nothing on the node but a Python, and ends with its standard input.

The first line it reads says where to look; its answer says what it saw. Then each line is a question: `{"clock": 1}`
asks for the time, `{"peers": [[host, port], …]}` which of them it cannot reach.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from launcher import address, processes, shell
from launcher.cluster import fingerprint

CONNECT_PATIENCE = 1.5
LOOK_UP_PATIENCE = 1.0
FULL_PACKETS = "small packets arrive and large ones do not"


def main() -> None:
    request = json.loads(sys.stdin.readline())
    with contextlib.ExitStack() as stack:
        _say({**_look(request), **_open_port(request["bind"], stack)})
        for line in sys.stdin:
            question = json.loads(line)
            if "clock" in question:
                _say({"time_ns": time.time_ns()})
            if "peers" in question:
                _say({"unreached": _unreached(question["peers"]), "look_up": _look_up_time(question["head"])})


def _look(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "identity": _identity(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": _packages(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": _gpus(),
        "folders": {name: _folder(name, make=name in request["make"]) for name in request["folders"]},
        "nonces": {name: _text(name) for name in request["nonces"]},
        "prints": {
            name: fingerprint.take(name, code=name in request["code"]) for name in (*request["code"], *request["data"])
        },
        "ended": _end_strays(request["run"]) if request["run"] else [],
    }


def _identity() -> str:
    """Tells two names of one machine from two machines, and containers of one machine apart."""
    boot = _text("/proc/sys/kernel/random/boot_id") or ""
    spaces = [str(Path(f"/proc/self/ns/{kind}").stat().st_ino) for kind in ("net", "uts")]
    return ":".join([boot.strip(), *spaces])


def _packages() -> dict[str, str]:
    """Version by distribution name; of two on the path, the one that Python would import."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return found


def _gpus() -> list[str]:
    """The compute capability of each GPU; none where there is no driver."""
    if not Path("/dev/nvidiactl").exists():
        return []
    words = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    return (shell.read(words, timeout=5) or "").split()


def _folder(name: str, *, make: bool) -> dict[str, Any]:
    """Free bytes where the folder is or would be, and why it cannot be written, if so."""
    path = Path(name)
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(path).free
    except OSError as error:
        return {"free": None, "fault": error.strerror}
    return {"free": free, "fault": None if os.access(path, os.W_OK) else "it cannot be written"}


def _text(name: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(name).read_text()
    return None


def _end_strays(run: str) -> list[int]:
    """Kill what an earlier attempt at the run has left here, and say what that was."""
    ended: set[int] = set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        strays = [pid for pid in processes.every() if processes.marked(pid, run)]
        if not strays:
            break
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        ended.update(strays)
        time.sleep(0.05)
    return sorted(ended)


def _open_port(bind: str, stack: contextlib.ExitStack) -> dict[str, Any]:
    """A port that answers while this program runs, on the address that the run would use."""
    try:
        own = address.own(bind)
        listener = stack.enter_context(socket.create_server((own, 0), family=address.family(own), backlog=4096))
    except OSError as error:
        return {"address": None, "port": None, "fault": str(error)}
    return {"address": own, "port": listener.getsockname()[1], "fault": None}


def _unreached(peers: Iterable[tuple[str, int]]) -> list[list[Any]]:
    def reach(peer: tuple[str, int]) -> list[Any] | None:
        try:
            with socket.create_connection((peer[0], peer[1]), timeout=CONNECT_PATIENCE) as connection:
                return None if _carries_full_packets(connection) else [*peer, FULL_PACKETS]
        except OSError as error:
            return [*peer, error.strerror or str(error)]

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return [answer for answer in pool.map(reach, peers) if answer]


def _carries_full_packets(connection: socket.socket) -> bool:
    """Whether the largest packet that both ends agreed on arrives: where a part of the way takes only smaller ones, a
    connection opens, and hangs with the first gradient. The other end's kernel acknowledges what nobody reads."""
    connection.send(b"\0" * connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
    deadline = time.monotonic() + CONNECT_PATIENCE
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _look_up_time(head: str) -> float | None:
    """Seconds that the name of the head's address takes, as torch's store asks for it; None: longer than we wait."""
    mapped = head if ":" in head else f"::ffff:{head}"
    began = time.monotonic()

    def look_up() -> None:
        with contextlib.suppress(OSError):
            socket.getnameinfo((mapped, 0), 0)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(LOOK_UP_PATIENCE)
    return None if thread.is_alive() else time.monotonic() - began


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
