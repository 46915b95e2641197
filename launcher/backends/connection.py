"""OpenSSH as the way to a host: its command line, its complaints in words, and rsync over the same connection.

It is the user's own client with the user's own configuration, agent, jump hosts and keys.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from pathlib import Path

from launcher import shell
from launcher.cluster.survey import Route
from launcher.errors import EnvironmentUnfit, LauncherError, RequestError
from launcher.spec import SshOptions

CONNECTION = {
    "BatchMode": "yes",  # nobody is there to answer a question
    "ServerAliveInterval": "2",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "ControlMaster": "auto",
    "ControlPersist": "5",
}

PATIENCE = 10
LOST = 255
"""ssh's own exit code when there is no connection, or no longer one."""
UNREACHED = re.compile(rf"\S+: (it does not answer|no answer within|no answer over ssh \(exit code {LOST}:)")
"""How the errors of a host begin with which there is no connection."""

# What ssh says, and what it means to the user: the sentence, the remedy, the family.
COMPLAINTS: tuple[tuple[str, str, str, type[LauncherError]], ...] = (
    ("Could not resolve hostname", "there is no such host", "check its spelling, or ~/.ssh/config", RequestError),
    ("IDENTIFICATION HAS CHANGED", "its host key is not the one known", "ssh-keygen -R HOST", EnvironmentUnfit),
    ("Host key verification failed", "its host key is not known here", "connect once: ssh HOST", EnvironmentUnfit),
    ("Permission denied", "no login without a password", "ssh-copy-id HOST", EnvironmentUnfit),
    ("Bad owner or permissions", "ssh refuses its configuration", "see the message", EnvironmentUnfit),
    ("timed out", "it does not answer", "ssh HOST", EnvironmentUnfit),
    ("refused", "it does not answer", "ssh HOST", EnvironmentUnfit),
    ("No route to host", "it does not answer", "ssh HOST", EnvironmentUnfit),
)


def command(settings: SshOptions, host: str, *, patience: int = PATIENCE) -> tuple[str, ...]:
    """The words before the remote command; a connection is waited for so many seconds."""
    return ("ssh", "-T", *_options(settings, host, patience), "--", host)


def routes(settings: SshOptions, *, patience: int) -> list[Route]:
    folder = _control_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077 or folder.is_symlink():
        raise EnvironmentUnfit(f"{folder} is not private to you", hint=f"rm -r {folder}")
    return [
        Route(host=host, argv=command(settings, host, patience=patience), explain=explain) for host in settings.hosts
    ]


def copy(settings: SshOptions, host: str, rules: list[str], *places: str) -> None:
    """Copy files to or from a host with rsync, over the same connection."""
    over = shlex.join(["ssh", *_options(settings, host, PATIENCE)])
    fault = shell.complaint(["rsync", "-a", "--protect-args", f"--rsh={over}", *rules, "--", *places], timeout=3600)
    if fault is not None:
        raise EnvironmentUnfit(f"rsync {places[-2]} {places[-1]}: {fault}", hint="install rsync on every host")


def _options(settings: SshOptions, host: str, patience: int) -> list[str]:
    chosen: list[str] = ["-F", settings.config] if settings.config else []
    for name, value in {**CONNECTION, "ConnectTimeout": patience, "ControlPath": _control_path(settings, host)}.items():
        chosen += ["-o", f"{name}={value}"]
    for flag, given in (("-l", settings.user), ("-p", settings.port)):
        chosen += [flag, str(given)] if given is not None else []
    return chosen


def _control_path(settings: SshOptions, host: str) -> Path:
    """One connection for each way to name and reach a host: another alias of a machine, which may have another key or
    account, does not slip through this one's."""
    way = repr((host, settings.user, settings.port, settings.config))
    return _control_folder() / hashlib.sha256(way.encode()).hexdigest()[:16]


def _control_folder() -> Path:
    """Private and short: the path of a socket has to fit into 104 characters."""
    return Path("/tmp", f"launcher-ssh-{os.getuid()}")  # noqa: S108 (made private, and checked to be, before use)


def explain(host: str, code: int, said: str) -> LauncherError:
    """ssh's complaint, or the remote shell's, as a sentence with a remedy."""
    last = said.splitlines()[-1] if said else "it said nothing"
    if code == LOST:
        for words, meaning, remedy, family in COMPLAINTS:
            if words in said:
                return family(f"{host}: {meaning} ({last})", hint=remedy.replace("HOST", host))
    if code in (126, 127):
        return EnvironmentUnfit(f"{host}: the Python is not there ({last})", hint="--set ssh.python=PATH")
    return EnvironmentUnfit(f"{host}: no answer over ssh (exit code {code}: {last})", hint=f"ssh {host}")
