"""The only module that starts processes. Arguments are lists; no shell ever reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# What a launcher, scheduler or torchrun around us left behind; each is set anew for every worker.
LEFT_OVER = frozenset({
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE",
})  # fmt: skip


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.PIPE,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a terminal's Ctrl-C reaches only the launcher."""
    return subprocess.Popen(
        list(argv),
        env=clean(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def read(argv: Sequence[str], *, cwd: Path | None = None, timeout: float = 10) -> str | None:
    """What a command prints; None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            list(argv), cwd=cwd, capture_output=True, timeout=timeout, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def complete(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, shown: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `shown` lets it write to the terminal instead of into the answer."""
    streams = None if shown else subprocess.PIPE
    return subprocess.run(
        list(argv), env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=streams, stderr=streams, text=True, check=False
    )


def complaint(argv: Sequence[str], *, timeout: float) -> str | None:
    """Run a command; None when it succeeds, else the last line it left on standard error, or why it could not run."""
    try:
        done = subprocess.run(list(argv), capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no end within {timeout:g} s"
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without another launcher's ranks and addresses."""
    return {key: value for key, value in env.items() if key not in LEFT_OVER and not key.startswith("TORCHELASTIC_")}
