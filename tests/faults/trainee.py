"""A stand-in for a training, without torch: claims its attempt, resumes, saves a checkpoint a step, says which stand.

Run as a program under the shim it serves trials, one JSON line each, every one in a fork of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from launcher import checkpoints
from launcher.errors import LauncherError
from launcher.manifest import Manifest
from tests.faults.defects import DEFECTS
from tests.faults.keeper import keep

KEEP = 2
BEST = 3  # every third step is saved as the best one


def train(run_dir: Path, *, attempt: int, until: int, tag: str = "", said: Callable[[int], None]) -> None:
    """Resume from the newest checkpoint and save each step up to `until`."""
    fence = checkpoints.claim(run_dir, attempt)
    root = checkpoints.folder(run_dir)
    found = checkpoints.newest_verified(root)
    known = {found[0]} if found else set()
    for step in range(found[1].step + 1 if found else 1, until + 1):
        checkpoints.save(
            root,
            Manifest(
                step=step,
                epoch=0,
                attempt=attempt,
                world_size=1,
                spec=tag,
                created="now",
                protected=step % BEST == 1,
            ),
            {name: [memoryview(data)] for name, data in state(step, tag).items()},
            fence=fence,
            keep=KEEP,
            known=known,
            report=lambda fault: None,
        )
        said(step)


def state(step: int, tag: str = "") -> dict[str, bytes]:
    """What a checkpoint of a step holds."""
    return {"model": f"weights {step} {tag}".encode() * 3, "training": json.dumps([step, tag]).encode()}


def serve() -> None:
    shim = ctypes.CDLL(None)
    for line in sys.stdin:
        for reply in _trial(json.loads(line), shim):
            print(json.dumps(reply), flush=True)


def _trial(request: dict[str, Any], shim: ctypes.CDLL) -> Iterator[dict[str, Any]]:
    """One reply when the trial ends; where it was stopped, one then, and another when it was let go on and ended."""
    heard, saying = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_run(request, shim, saying))
    os.close(saying)
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        yield {"stopped": True, "saved": _heard(heard)}
        sys.stdin.readline()
        os.kill(child, signal.SIGCONT)
        status = os.waitpid(child, 0)[1]
    yield {"stopped": False, "status": os.waitstatus_to_exitcode(status), "saved": _heard(heard)}
    os.close(heard)


def _run(request: dict[str, Any], shim: ctypes.CDLL, saying: int) -> int:
    """Exit code: 0 done, 1 an error the user would be told, 2 a traceback."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600) if request["log"] else -1

    def said(step: int) -> None:
        os.write(saying, b"%d\n" % step)
        if log >= 0:
            os.write(log, b"saved\t%d\t\t0\n" % step)

    DEFECTS[request["defect"]]()
    if request["late"]:
        _an_orphan_commits_late(Path(request["late"]))
    shim.fault_arm(request["run_dir"].encode(), ctypes.c_long(request["at"]), request["kind"], log)
    try:
        if request.get("record"):
            keep(Path(request["run_dir"]), said)
        else:
            train(Path(request["run_dir"]), attempt=request["attempt"], until=request["until"], said=said)
    except LauncherError:
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 2
    return 0


def _an_orphan_commits_late(prepared: Path) -> None:
    """The step after the newest appears just when the attempt has chosen where to resume."""
    find = checkpoints.newest_verified

    def find_and_be_overtaken(root: Path, *args: Any) -> tuple[str, Manifest] | None:
        found = find(root, *args)
        prepared.rename(root / prepared.name)
        return found

    checkpoints.newest_verified = find_and_be_overtaken


def _heard(pipe: int) -> list[int]:
    text = b""
    while select.select([pipe], [], [], 0)[0] and (more := os.read(pipe, 65536)):
        text += more
    return [int(step) for step in text.split()]


if __name__ == "__main__":
    serve()
