"""A child process that touches folders, one grandchild for each, because a dead file system hangs whoever touches it.

First argument: a JSON object, role -> {path, write, lock}. Standard output: role -> what was seen, or null for a folder
that gave no answer; one that can be read and not be written in time says so. Imports little, so that it costs little.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time

SECONDS = 5.0
"""Enough for a slow disk or server under load, which is no fault."""
LOCK_SECONDS = 1.0
COUNTED = 1000
ST_NOEXEC = 8


def main(request: str) -> None:
    pending = {role: _start(role, wish) for role, wish in json.loads(request).items()}
    answers: dict[str, object] = {}
    deadline = time.monotonic() + SECONDS
    for role, (pid, pipe) in pending.items():
        answers[role] = _answer(pipe, deadline)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    print(json.dumps(answers))


def _start(role: str, wish: dict[str, object]) -> tuple[int, int]:
    pipe, end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(end)
        return pid, pipe
    os.close(1)  # a grandchild that hangs in the kernel must not keep the reader of our output waiting
    os.close(2)
    try:
        seen = look(str(wish["path"]), bool(wish["write"]))
        os.write(end, json.dumps(seen).encode() + b"\n")
        if wish["write"]:
            seen["write_failure"], seen["lock_failure"] = _try_to_write(str(seen["there"]), bool(wish["lock"]))
            os.write(end, json.dumps(seen).encode())
    finally:
        os._exit(0)


def _answer(pipe: int, deadline: float) -> object:
    text = b""
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 65536)
        if not part:
            break
        text += part
    lines = text.splitlines()
    return json.loads(lines[-1]) if lines else None


def look(path: str, write: bool) -> dict[str, object]:
    """What one folder, or its nearest ancestor that exists, is like."""
    exists = os.path.isdir(path)  # noqa: PTH112 - importing pathlib costs more than all of this program
    there = os.path.abspath(path)  # noqa: PTH100
    while not os.path.isdir(there):  # noqa: PTH112
        there = os.path.dirname(there)  # noqa: PTH120
    try:
        found = os.statvfs(there)
    except OSError:
        return {"there": there, "real": os.path.realpath(there), "exists": exists}
    return {
        "there": there,
        "real": os.path.realpath(there),
        "exists": exists,
        "free_bytes": found.f_bavail * found.f_frsize,
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_inodes": found.f_favail,
        "total_inodes": found.f_files,
        "noexec": bool(found.f_flag & ST_NOEXEC),
        "entries": _count(path) if exists else None,
        "write_failure": f"no answer within {SECONDS:g} s" if write else None,  # until the answer comes
    }


def _count(path: str) -> int | None:
    count = 0
    try:
        with os.scandir(path) as entries:
            for _ in entries:
                count += 1
                if count == COUNTED:
                    break
    except OSError:
        return None
    return count


def _try_to_write(folder: str, lock: bool) -> tuple[str | None, str | None]:
    """Write a page into a file without a lasting name, and lock it."""
    name = f"{folder}/.envcheck-{os.uname().nodename}-{os.getpid()}"
    try:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(name)  # noqa: PTH108
    except OSError as error:
        return _words(error), None
    try:
        os.write(file, b"envcheck" * 512)
        os.fsync(file)
    except OSError as error:
        return _words(error), None
    return None, _try_to_lock(file) if lock else None


def _try_to_lock(file: int) -> str | None:
    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LOCK_SECONDS)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except TimeoutError:
        return f"no answer within {LOCK_SECONDS:g} s"
    except OSError as error:
        return _words(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _words(error: OSError) -> str:
    return f"{os.strerror(error.errno or 0)} (errno {error.errno})"


if __name__ == "__main__":
    main(sys.argv[1])
