"""Nodes that Kubernetes gives: one pod a node, as an indexed Job that is tried once. Retries are launcher's.

The run folder is on a claim that all pods mount; the job's folder is in the image or on the claim. A process here
follows each pod (`launcher.follow`): it passes the pod's lines on as if it were the node program, and when its launcher
ends, it ends the pods.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher import elastic, store
from launcher.backends import kubectl, manifest
from launcher.backends.base import Backend, Command, Submission, Tell, request
from launcher.errors import LauncherError, RequestError
from launcher.plan import Machine, Plan
from launcher.spec import JobSpec
from launcher.store import RunFolder

FILE = "kubernetes.yaml"

SILENCE = 90.0
"""Seconds without a line of a pod: longer than kubectl takes to be connected again."""
UNLEASED = 1e9
"""Nobody sends lines to a pod; whoever follows it ends it, and Kubernetes when its node is gone."""
LOST = {
    3: "could not begin",
    124: "was lost with its pod",
    125: "was not started by Kubernetes",
}

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_QUANTITY = r"\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?"
FORMS = {
    "namespace": (_LABEL, "`kubectl get namespaces` lists them"),
    "claim": (_NAME, "`kubectl get persistentvolumeclaims` lists them"),
    "secret": (_NAME, "`kubectl get secrets` lists them"),
    "memory": (_QUANTITY, "such as 32Gi"),
    "shm": (_QUANTITY, "such as 8Gi"),
    "job_dir": (r"/[^\x00-\x1f]*", "an absolute path in the container"),
}


def settle(spec: JobSpec, _job_path: Path) -> JobSpec:
    """Refuses what pods cannot do without, and what Kubernetes would not take."""
    elastic.refuse_a_range(spec, "an indexed Job has the pods it asked for; a lost one is made anew on another machine")
    settings = spec.kubernetes
    if not re.fullmatch(r"[\w.:/-]+@sha256:[0-9a-f]{64}", spec.image):
        raise RequestError(
            f"image: Kubernetes pulls it by its digest, and {spec.image} names none",
            hint="push it, then --set image=REGISTRY/NAME@sha256:…",
        )
    if settings.job_dir is None:
        raise RequestError(
            "kubernetes.job_dir: it is not said where pods have the job's folder",
            hint=f"--set kubernetes.job_dir=DIR, in the image or under {manifest.RUNS} on the claim",
        )
    if settings.claim is None:
        raise RequestError(
            "kubernetes.claim: no volume for the run folder, and a pod's own files end with it",
            hint="--set kubernetes.claim=NAME; `kubectl get persistentvolumeclaims` lists them",
        )
    if spec.training.precision == "auto":
        raise RequestError(
            "training.precision: auto cannot be decided before Kubernetes has given the nodes",
            hint="--set training.precision=bf16, fp16 or fp32",
        )
    for key, (form, hint) in FORMS.items():
        value = getattr(settings, key)
        if value is not None and not re.fullmatch(form, value):
            raise RequestError(f"kubernetes.{key}: {value!r} is not of the form that Kubernetes takes", hint=hint)
    return spec


def machine(spec: JobSpec) -> Machine:
    """What each pod asks for is what it gets."""
    return Machine(cores=spec.kubernetes.cpus, gpus=spec.kubernetes.gpus)


def render(plan: Plan) -> Submission:
    found = manifest.objects(plan, _pods_request(plan))
    words = (manifest.job_name(plan), manifest.resource(plan), *kubectl.words(plan.spec.kubernetes))
    return Submission(
        commands=tuple(
            Command(
                argv=(sys.executable, "-P", "-m", "launcher.follow", str(rank), *words),
                request=request(plan, rank, bind=plan.spec.kubernetes.interface, env={}, shared=False),
                silence=SILENCE,
                lost=LOST,
            )
            for rank in range(plan.nodes)
        ),
        files={FILE: manifest.text(found)},
    )


def prepare(plan: Plan, folder: RunFolder, tell: Tell) -> None:
    """Before an attempt: nothing of an earlier one is left, and Kubernetes has this one."""
    kubectl.require()
    kubectl.delete(plan.spec.kubernetes, manifest.run_label(plan))
    file = folder.path / FILE
    store.write_whole(file, render(plan).files[FILE])
    kubectl.apply(plan.spec.kubernetes, file)


def collect(plan: Plan, _folder: RunFolder, _lost: Sequence[str] | None, tell: Tell) -> None:
    """After an attempt, and before a resume: nothing of the run is left but its folder on the claim."""
    try:
        kubectl.require()
        kubectl.delete(plan.spec.kubernetes, manifest.run_label(plan))
    except LauncherError as error:
        left = f"kubectl delete job,pod,service,configmap --selector={manifest.RUN}={manifest.run_label(plan)}"
        tell({"event": "warning", "text": f"{error.message}; what is left: {left}"})


def _pods_request(plan: Plan) -> dict[str, object]:
    """What the pods are told: one text for all of them, each knows its rank."""
    there = dataclasses.replace(
        plan, run_dir=f"{manifest.RUNS}/{plan.run_id}", job_dir=str(plan.spec.kubernetes.job_dir)
    )
    interface = plan.spec.kubernetes.interface
    env = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    told = request(there, None, bind=interface, env=env, lease=UNLEASED, shared=False)
    return {**told, "makes_folder": False, "port": manifest.PORT, "hosts": manifest.hosts(plan)}


BACKEND = Backend(render=render, machine=machine, settle=settle, prepare=prepare, collect=collect)
