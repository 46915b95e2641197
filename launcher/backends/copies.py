"""A run's files on hosts that share none: brought there by rsync before an attempt, and home after it."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable
from pathlib import Path

from launcher.backends import connection
from launcher.backends.base import HOME
from launcher.cluster import survey
from launcher.errors import LauncherError
from launcher.plan import Plan
from launcher.store import RunFolder

# What the launcher itself writes in the run folder; a host's copy of it is never newer.
OURS = ("plan.json", "attempt", "lock", "events.jsonl", "result.json", "/checkpoints/.*")

Faults = dict[str, LauncherError]
"""The hosts to or from which files could not be copied, and why."""


def folder_of(plan: Plan) -> str:
    """What a run has on a host: relative to the home that ssh starts in."""
    return f".launcher/{plan.run_id}"


def there(plan: Plan, part: str) -> str:
    """The place of its `run`, `job` or `code`."""
    return f"{folder_of(plan)}/{part}"


def send(plan: Plan, folder: RunFolder, *, code: bool) -> Faults:
    """To all hosts the job's folder, what the run has and goes on from, and with `code` this launcher."""
    return _on_all(plan.spec.ssh.hosts, lambda host: _send(plan, folder, host, code=code))


def fetch(plan: Plan, folder: RunFolder) -> Faults:
    """From all hosts their parts of the run folder."""
    return _on_all(plan.spec.ssh.hosts, lambda host: _fetch(plan, folder, host))


def _send(plan: Plan, folder: RunFolder, host: str, *, code: bool) -> None:
    settings = plan.spec.ssh
    runs = folder.path.parent
    rules = ["--filter=:- .gitignore", "--exclude=.git", "--exclude=__pycache__"]
    if runs.is_relative_to(plan.job_dir) and runs != Path(plan.job_dir):
        rules.append(f"--exclude=/{runs.relative_to(plan.job_dir)}")
    connection.copy(settings, host, [*rules, "--delete"], f"{plan.job_dir}/", f"{host}:{there(plan, 'job')}/")
    if code:
        packages = [str(HOME / name) for name in ("launcher", "envcheck")]
        place = f"{host}:{there(plan, 'code')}/"
        connection.copy(settings, host, ["--exclude=__pycache__", "--delete"], *packages, place)
    if folder.metrics.exists():
        connection.copy(settings, host, [], str(folder.metrics), f"{host}:{there(plan, 'run')}/")
    if plan.resume_from is not None:
        saved = folder.checkpoints / plan.resume_from
        connection.copy(settings, host, ["--delete"], str(saved), f"{host}:{there(plan, 'run')}/checkpoints/")


def _fetch(plan: Plan, folder: RunFolder, host: str) -> None:
    rules = [f"--exclude={name}" for name in OURS]
    connection.copy(plan.spec.ssh, host, rules, f"{host}:{there(plan, 'run')}/", f"{folder.path}/")


def _on_all(hosts: Iterable[str], act: Callable[[str], None]) -> Faults:
    """Do it for all hosts at once."""
    names = list(hosts)
    with concurrent.futures.ThreadPoolExecutor(min(survey.FAN_OUT, len(names))) as pool:
        ends = [pool.submit(act, host) for host in names]
    faults = ((host, end.exception()) for host, end in zip(names, ends, strict=True))
    failed: Faults = {}
    for host, fault in faults:
        if isinstance(fault, LauncherError):
            failed[host] = fault
        elif fault is not None:
            raise fault
    return failed
