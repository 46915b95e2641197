"""Throw-away servers from Debian's packages, on a socket in a folder of their own: Redis and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher import waiting

PATIENCE = 60.0


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The URL of a Redis."""
    pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        socket = Path(folder, "redis.sock")
        words = [program, "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        with _running(words, socket.exists):
            yield f"unix://{socket}"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL. It refuses to run as root: then it is the package's own user's."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        owner: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            owner = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data, bins = Path(folder, "data"), found[-1].parent
        made = [str(bins / "initdb"), "--auth=trust", "--no-sync", "--username=sweep", "-D", str(data)]
        subprocess.run([*owner, *made], check=True, capture_output=True, timeout=PATIENCE, cwd="/")
        words = [str(found[-1]), "-D", str(data), "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with _running([*owner, *words], Path(folder, ".s.PGSQL.5432").exists):
            yield f"postgresql://sweep@/postgres?host={folder}"


@contextlib.contextmanager
def _running(words: list[str], answers: Callable[[], bool]) -> Iterator[None]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        assert waiting.until(answers, PATIENCE), words
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL then waits for no client
        process.wait(PATIENCE)
