"""The Kubernetes objects of one attempt: an indexed Job, or a JobSet, whose pods find each other by name. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from launcher.plan import Plan
from launcher.spec import KubernetesOptions

RUN = "launcher-run"
JOB = "launcher-job"
"""Labels: of everything a run has made, and of one attempt's pods."""

PORT = 29400
"""Of the rendezvous. A pod has its ports to itself, so that no two runs meet."""
REQUEST = "/mnt/launcher"
RUNS = "/mnt/runs"
"""Where pods have their request and the claim with the run folders."""
USER = 10001
"""The user of launcher's images."""
GRACE = 60
"""Seconds between SIGTERM and SIGKILL: the ranks' 30 for a checkpoint, and some for the rest."""
KEPT = 24 * 3600
"""Seconds after which Kubernetes itself removes a Job that no launcher has."""
ONE_OF_JOBSET = "nodes"

Object = dict[str, Any]


def objects(plan: Plan, request: Mapping[str, Any]) -> list[Object]:
    """Everything to apply: the pods' request, the name service, the pods."""
    settings = plan.spec.kubernetes
    name = job_name(plan)
    given = _object("v1", "ConfigMap", plan, data={"request.json": json.dumps(request, indent=1)})
    if settings.kind == "jobset":
        return [given, _object("jobset.x-k8s.io/v1alpha2", "JobSet", plan, spec=_jobset(plan))]
    # Headless, and answering before all pods are ready: they meet before they are.
    names = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {JOB: name}}
    return [
        given,
        _object("v1", "Service", plan, spec=names),
        _object("batch/v1", "Job", plan, spec={**_job(plan), "ttlSecondsAfterFinished": KEPT}),
    ]


def text(found: list[Object]) -> str:
    """The objects as a file for `kubectl apply`."""
    return yaml.dump_all(found, Dumper=_Readable, sort_keys=False, width=120)


def job_name(plan: Plan) -> str:
    """A name that Kubernetes takes, and from which the run can be told."""
    job, *when = plan.run_id.lower().rsplit("-", 2)
    plain = re.sub(r"[^a-z0-9]+", "-", job)[:16].strip("-")
    return "-".join([plain if plain[:1].isalpha() else f"run-{plain}", *when, str(plan.attempt)])


def run_label(plan: Plan) -> str:
    return job_name(plan).rpartition("-")[0]


def resource(plan: Plan) -> str:
    """What to delete to end the attempt, as kubectl names it."""
    return f"{plan.spec.kubernetes.kind}/{job_name(plan)}"


def hosts(plan: Plan) -> list[str]:
    """The names by which the pods reach each other, by node rank."""
    name = job_name(plan)
    within = f"{name}-{ONE_OF_JOBSET}-0" if plan.spec.kubernetes.kind == "jobset" else name
    return [f"{within}-{rank}.{name}" for rank in range(plan.nodes)]


def _object(version: str, kind: str, plan: Plan, **content: Any) -> Object:
    labels = {RUN: run_label(plan), **plan.spec.kubernetes.labels}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": job_name(plan), "labels": labels}, **content}


def _job(plan: Plan) -> Object:
    labels = {JOB: job_name(plan), RUN: run_label(plan)}
    return {
        "completionMode": "Indexed",
        "completions": plan.nodes,
        "parallelism": plan.nodes,
        "backoffLimit": 0,  # a new attempt is launcher's: all pods together, from the newest checkpoint
        "template": {"metadata": {"labels": labels}, "spec": _pod(plan)},
    }


def _jobset(plan: Plan) -> Object:
    return {
        "network": {"enableDNSHostnames": True, "subdomain": job_name(plan), "publishNotReadyAddresses": True},
        "failurePolicy": {"maxRestarts": 0},
        "ttlSecondsAfterFinished": KEPT,
        "replicatedJobs": [{"name": ONE_OF_JOBSET, "replicas": 1, "template": {"spec": _job(plan)}}],
    }


def _pod(plan: Plan) -> Object:
    settings = plan.spec.kubernetes
    spec: Object = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan)],
        "volumes": [
            {"name": "request", "configMap": {"name": job_name(plan)}},
            {"name": "runs", "persistentVolumeClaim": {"claimName": settings.claim}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shm}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if settings.kind == "job":
        spec["subdomain"] = job_name(plan)
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    return spec


def _container(plan: Plan) -> Object:
    settings = plan.spec.kubernetes
    container: Object = {
        "name": "node",
        "image": plan.spec.image,
        "imagePullPolicy": "IfNotPresent",
        # Arguments, so that the image's entry point stays: an init that passes signals on and reaps.
        "args": ["python", "-P", "-m", "launcher.pod", f"{REQUEST}/request.json"],
        "workingDir": settings.job_dir,
        "resources": {"requests": _resources(settings), "limits": _resources(settings)},
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "request", "mountPath": REQUEST, "readOnly": True},
            {"name": "runs", "mountPath": RUNS},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 (a container's own)
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    if settings.secret:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    return container


def _resources(settings: KubernetesOptions) -> Object:
    gpus = {"nvidia.com/gpu": str(settings.gpus)} if settings.gpus else {}
    return {"cpu": str(settings.cpus), "memory": settings.memory, **gpus}


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as such, and everything in full where it is needed twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Readable.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None),
)
