"""All nodes in containers on this machine: one a node, on a private network, named by the image's digest.

Nothing but the run folder is writable in them, and they run as the caller. A container lives on its launcher's lease:
when the launcher goes, standard input ends, the node program ends everything, and the engine removes the container.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from launcher import machine
from launcher.backends.base import Backend, Command, Submission, Tell, fewer, request
from launcher.errors import EnvironmentUnfit
from launcher.images import build, engine, versions
from launcher.images.versions import Variant
from launcher.plan import Plan
from launcher.spec import JobSpec, Resources
from launcher.store import RunFolder

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

NETWORK = "launcher"
"""Kept between runs; containers reach each other on it, and nothing else reaches them."""
LABEL = "launcher.run"
NOT_STARTED = 125
"""The docker command's own exit code when the engine did not start the container."""
INTERFACE = "eth0"

SCRATCH = "/tmp:exec"  # noqa: S108 (a container's own)

# As little as a batch job needs; shared memory for loader workers, which outgrow Docker's 64 MB.
CONFINED = (
    *(
        "--pull",
        "never",
        "--no-healthcheck",
        "--network",
        NETWORK,
        "--log-driver",
        "none",
        "--pids-limit",
        "4096",
        "--shm-size",
        "1g",
    ),
    *("--read-only", "--tmpfs", SCRATCH, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def settle(spec: JobSpec, _job_path: Path) -> JobSpec:
    """The job with its image named by digest, and what the engine can do for it written down.

    EnvironmentUnfit if there is no such image, or if it cannot run here.
    """
    client = engine.connect()
    if re.fullmatch(r"sha256:[0-9a-f]{64}", spec.image):
        digest = spec.image
    else:
        digest = _built(_fitting(versions.read().variant(spec.image), spec))
    image = engine.find(client, digest)
    if image is None:
        raise EnvironmentUnfit(
            f"image: the engine does not hold {spec.image}",
            hint="docker images lists those it holds; launcher images build makes one and prints its digest"
            if spec.image == digest
            else f"launcher images build {spec.image}",
        )
    _require_architecture(image)
    variant = versions.read().variants.get(image.labels.get("launcher.variant", ""))
    if variant is not None:
        _fitting(variant, spec)
    resources = dataclasses.replace(spec.resources, device=_device(spec, variant))
    user = spec.docker.user
    if user == "auto":
        user = "root" if engine.rootless(client) else "caller"
    settled = dataclasses.replace(spec.docker, gpus=_way_to_gpus(spec, resources, client), user=user)
    return dataclasses.replace(spec, image=digest, resources=resources, docker=settled)


def render(plan: Plan) -> Submission:
    return Submission(
        commands=tuple(
            Command(
                argv=_argv(plan, node_rank),
                request=request(
                    plan,
                    node_rank,
                    bind=INTERFACE,
                    env={"GLOO_SOCKET_IFNAME": INTERFACE, "NCCL_SOCKET_IFNAME": INTERFACE},
                ),
                lost={NOT_STARTED: "was not started by the engine"},
            )
            for node_rank in range(plan.nodes)
        )
    )


def prepare(plan: Plan, _folder: RunFolder, tell: Tell) -> None:
    """Before an attempt: the network is there, and no container of an earlier one."""
    client = engine.connect()
    _remove_containers(plan.run_id, tell)
    if not client.networks.list(names=[f"^{NETWORK}$"]):
        client.networks.create(NETWORK, driver="bridge", check_duplicate=True)


def collect(plan: Plan, _folder: RunFolder, _lost: Sequence[str] | None, tell: Tell) -> None:
    """After an attempt: no container is left."""
    _remove_containers(plan.run_id, tell)


def _argv(plan: Plan, node_rank: int) -> tuple[str, ...]:
    return (
        *("docker", "run", "--rm", "--interactive", *CONFINED),
        *("--name", f"{plan.run_id}-{plan.attempt}-{node_rank}", "--hostname", f"node-{node_rank}"),
        *("--label", f"{LABEL}={plan.run_id}", "--user", _user(plan)),
        *("--volume", f"{plan.run_dir}:{plan.run_dir}", "--volume", f"{plan.job_dir}:{plan.job_dir}:ro"),
        *("--workdir", plan.job_dir, *_gpus(plan, node_rank), plan.spec.image),
        *("python", "-P", "-m", "launcher.node"),
    )


def _gpus(plan: Plan, node_rank: int) -> tuple[str, ...]:
    """Each node's own share of the machine's GPUs."""
    if plan.device == "cpu":
        return ()
    first = node_rank * plan.procs_per_node
    share = [str(gpu) for gpu in range(first, first + plan.procs_per_node)]
    if plan.spec.docker.gpus == "cdi":
        return tuple(word for gpu in share for word in ("--device", f"nvidia.com/gpu={gpu}"))
    return "--gpus", f'"device={",".join(share)}"'


def _user(plan: Plan) -> str:
    return "0:0" if plan.spec.docker.user == "root" else f"{os.getuid()}:{os.getgid()}"


def _device(spec: JobSpec, variant: Variant | None) -> Literal["auto", "cpu", "cuda"]:
    """The job's device; an image without CUDA leaves no choice."""
    if variant is None or variant.driver is not None:
        return spec.resources.device
    if spec.resources.device == "cuda":
        raise EnvironmentUnfit(
            f"image: {variant.name} holds no CUDA, and resources.device is cuda",
            hint=f"--set image={versions.read().automatic[0]}",
        )
    return "cpu"


def _way_to_gpus(spec: JobSpec, resources: Resources, client: DockerClient) -> Literal["auto", "runtime", "cdi"]:
    if spec.docker.gpus != "auto" or resources.device == "cpu" or versions.driver() is None:
        return spec.docker.gpus
    way = engine.gpus(client)
    if way is None:
        raise EnvironmentUnfit(
            "this machine has GPUs, and the engine has neither NVIDIA's runtime nor a CDI specification to give them",
            hint="install nvidia-container-toolkit, then: sudo nvidia-ctk runtime configure && "
            "sudo systemctl restart docker; --set resources.device=cpu runs without",
        )
    return way


def _fitting(variant: Variant, spec: JobSpec) -> Variant:
    """The variant; EnvironmentUnfit names the one that would run, where this machine's driver or processor does not."""
    host = versions.Host(machine=platform.machine(), driver=versions.driver())
    unfit = versions.misfit(variant, host)
    if unfit and (host.driver or spec.resources.device == "cuda" or variant.driver is None):
        would = versions.read().choose(host)[0].name
        raise EnvironmentUnfit(
            f"image: {variant.name} does not run here: {unfit}", hint=f"--set image={would} would run"
        )
    return variant


def _built(variant: Variant) -> str:
    built = build.last(variant)
    if built is None:
        raise EnvironmentUnfit(f"image: {variant.name} is not built", hint=f"launcher images build {variant.name}")
    return built.digest


def _require_architecture(image: Image) -> None:
    made_for, here = image.attrs["Architecture"], build.DOCKER_ARCHITECTURES[platform.machine()]
    if made_for != here:
        raise EnvironmentUnfit(
            f"image: it is made for {made_for}, this machine is {here}", hint="build it on this machine"
        )


def _remove_containers(run_id: str, tell: Tell) -> None:
    from docker.errors import NotFound

    for container in engine.connect().containers.list(all=True, filters={"label": f"{LABEL}={run_id}"}):
        try:
            container.remove(force=True)
        except NotFound:
            continue  # the engine was quicker
        tell({"event": "warning", "text": f"container {container.name} was still there; it was removed"})


BACKEND = Backend(
    render=render,
    machine=lambda spec: machine.inspect(),
    settle=settle,
    prepare=prepare,
    collect=collect,
    instead=fewer,
)
