"""kubectl as the way to a cluster: what it is asked for, its answers as JSON, its complaints in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher import shell
from launcher.backends import manifest
from launcher.errors import EnvironmentUnfit, LauncherError, RequestError
from launcher.spec import KubernetesOptions

DELETION = manifest.GRACE + 30
"""Seconds in which pods are gone that were told to go."""

# What kubectl says, and what it means to the user: the sentence, the remedy, the family.
COMPLAINTS: tuple[tuple[str, str, str, type[LauncherError]], ...] = (
    ("no configuration has been provided", "kubectl knows no cluster", "kubectl config get-contexts", EnvironmentUnfit),
    ("does not exist", "kubectl knows no such context", "`kubectl config get-contexts` lists them", RequestError),
    ("was refused", "the cluster does not answer", "kubectl cluster-info", EnvironmentUnfit),
    ("Unable to connect", "the cluster does not answer", "kubectl cluster-info", EnvironmentUnfit),
    ("Forbidden", "the cluster does not allow it", "kubectl auth can-i create jobs", EnvironmentUnfit),
    ("no matches for kind", "the cluster has no JobSet", "--set kubernetes.kind=job", EnvironmentUnfit),
    ("namespaces", "there is no such namespace", "`kubectl get namespaces` lists them", RequestError),
)


def words(settings: KubernetesOptions) -> tuple[str, ...]:
    """The words before each of kubectl's commands."""
    context = [f"--context={settings.context}"] if settings.context else []
    namespace = [f"--namespace={settings.namespace}"] if settings.namespace else []
    return ("kubectl", "--request-timeout=20s", *context, *namespace)


def require() -> None:
    """Raises EnvironmentUnfit where there is no kubectl."""
    if shutil.which("kubectl") is None:
        raise EnvironmentUnfit(
            "kubectl is not on this machine",
            hint="install it (https://kubernetes.io/docs/tasks/tools); --dry-run prints the manifest without it",
        )


def apply(settings: KubernetesOptions, file: Path) -> None:
    """Hand the file's objects to the cluster. Raises LauncherError with what kubectl says against them."""
    _act(settings, "apply", "--filename", str(file))


def delete(settings: KubernetesOptions, run: str) -> None:
    """Remove all that a run has made, and wait until its pods are gone. Raises LauncherError."""
    kinds = "jobset,job,pod,service,configmap" if settings.kind == "jobset" else "job,pod,service,configmap"
    _act(settings, "delete", kinds, f"--selector={manifest.RUN}={run}", "--ignore-not-found", f"--timeout={DELETION}s")


def end(command: Sequence[str], resource: str) -> None:
    """Let an attempt's pods be ended: SIGTERM, their grace, SIGKILL. Returns at once."""
    shell.complaint([*command, "delete", resource, "--ignore-not-found", "--wait=false"], timeout=30)


def pod(command: Sequence[str], job: str, rank: int) -> dict[str, Any] | None:
    """The pod of a node rank as the cluster describes it; empty when there is none, None when there is no answer."""
    said = shell.read([*command, "get", "pods", f"--selector={manifest.JOB}={job}", "--output=json"], timeout=30)
    if said is None:
        return None
    for one in json.loads(said)["items"]:
        about = {**one["metadata"].get("annotations", {}), **one["metadata"].get("labels", {})}
        if about.get("batch.kubernetes.io/job-completion-index") == str(rank):
            return dict(one)
    return {}


def _act(settings: KubernetesOptions, *more: str) -> None:
    done = shell.complete([*words(settings), *more])
    if done.returncode == 0:
        return
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it said nothing"
    for said, meaning, remedy, family in COMPLAINTS:
        if said in done.stderr:
            raise family(f"{meaning} ({last})", hint=remedy)
    raise EnvironmentUnfit(f"kubectl {more[0]}: {last}", hint=f"{' '.join(words(settings))} get jobs")
