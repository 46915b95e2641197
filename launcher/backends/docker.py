"""Each node in a container, named by the image's digest: on this machine and a private network of its engine, or where
`ssh.hosts` names machines, one on each of them, which then is like the ssh backend but for the Python it starts.

Nothing but the run folder is writable in them, and they run as the caller. A container lives on its launcher's lease:
when the launcher goes, standard input ends, the node program ends everything, and the engine removes the container.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from launcher import machine
from launcher.backends import container, ssh
from launcher.backends.base import Backend, Command, Submission, Tell, fewer, request
from launcher.errors import EnvironmentUnfit, RequestError
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
INTERFACE = "eth0"
DONE = {
    "kill": "its container was sent signal {signal} by someone else than the launcher",
    "oom": "a process of its container was ended because the memory was full",
}
"""The engine's events that end a container, and how they are told."""


def settle(spec: JobSpec, job_path: Path) -> JobSpec:
    """The job with its image named by digest, and what its engine can do for it written down.

    EnvironmentUnfit if there is no such image, or if it cannot run here. What other hosts hold is for them to say.
    """
    if _on_hosts(spec):
        return _settle_for_hosts(ssh.settle(spec, job_path))
    client = engine.connect()
    digest = _digest(spec) or _built(_fitting(versions.read().variant(spec.image), spec))
    image = engine.find(client, digest)
    if image is None:
        raise EnvironmentUnfit(
            f"image: the engine does not hold {spec.image}",
            hint="docker images lists those it holds; launcher images build makes one and prints its digest"
            if spec.image == digest
            else f"launcher images build {spec.image}",
        )
    _require_architecture(image)
    engine.need_command()
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
                lost={container.NOT_STARTED: "was not started by the engine"},
            )
            for node_rank in range(plan.nodes)
        )
    )


def prepare(plan: Plan, _folder: RunFolder, tell: Tell) -> None:
    """Before an attempt: the network is there, and no container of an earlier one."""
    client = engine.connect()
    _remove_containers(plan, tell)
    if not client.networks.list(names=[f"^{NETWORK}$"]):
        client.networks.create(NETWORK, driver="bridge", check_duplicate=True)


def collect(plan: Plan, _folder: RunFolder, _lost: Sequence[str] | None, tell: Tell) -> None:
    """After an attempt: what the engine saw done to its containers is told, and none of them is left.

    An engine that does not answer costs the attempt no verdict.
    """
    from docker.errors import DockerException

    for part in (_tell_what_was_done, _remove_containers):
        try:
            part(plan, tell)
        except (DockerException, EnvironmentUnfit, OSError) as error:
            tell({"event": "warning", "text": f"the engine does not answer for the attempt's containers: {error}"})


def _on_hosts(spec: JobSpec) -> bool:
    return bool(spec.ssh.hosts or spec.ssh.hosts_file)


def _settle_for_hosts(spec: JobSpec) -> JobSpec:
    digest, device = _digest(spec), spec.resources.device
    if digest is None:
        variant = versions.read().variant(spec.image)
        digest, device = _built(variant), _device(spec, variant)
        device = "cuda" if device == "auto" else device
    if device == "auto":
        raise RequestError(
            "resources.device: auto cannot be decided for an image that is only named by its digest",
            hint="--set resources.device=cpu or cuda",
        )
    resources = dataclasses.replace(spec.resources, device=device)
    return dataclasses.replace(spec, image=digest, resources=resources)


def _digest(spec: JobSpec) -> str | None:
    """The image where the job names it by its digest, and not as a variant."""
    return spec.image if re.fullmatch(r"sha256:[0-9a-f]{64}", spec.image) else None


def _argv(plan: Plan, node_rank: int) -> tuple[str, ...]:
    return (
        *("docker", "run", "--rm", "--interactive", *container.CONFINED, "--network", NETWORK),
        *("--name", _name(plan, node_rank), "--hostname", f"node-{node_rank}"),
        *("--label", f"{container.LABEL}={plan.run_id}", "--user", _user(plan)),
        *("--volume", f"{plan.run_dir}:{plan.run_dir}", "--volume", f"{plan.job_dir}:{plan.job_dir}:ro"),
        *container.data(plan.spec),
        *("--workdir", plan.job_dir, *_gpus(plan, node_rank), plan.spec.image),
        *("python", "-P", "-m", "launcher.node"),
    )


def _name(plan: Plan, node_rank: int) -> str:
    return f"{plan.run_id}-{plan.attempt}-{node_rank}"


def _gpus(plan: Plan, node_rank: int) -> tuple[str, ...]:
    """Each node's own share of the machine's GPUs."""
    if plan.device == "cpu":
        return ()
    first = node_rank * plan.procs_per_node
    return container.gpus(plan.spec.docker.gpus, range(first, first + plan.procs_per_node))


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


def _tell_what_was_done(plan: Plan, tell: Tell) -> None:
    for text in dict.fromkeys(_done_to_containers(plan)):
        tell({"event": "warning", "text": text})


def _done_to_containers(plan: Plan) -> Iterator[str]:
    """What the attempt's node programs cannot tell themselves: they were killed, or the kernel ran out of memory."""
    asked = {"label": f"{container.LABEL}={plan.run_id}", "event": list(DONE)}
    names = {_name(plan, node_rank): node_rank for node_rank in range(plan.nodes)}
    now: Any = time.time()  # the engine takes fractions of a second, of which the SDK's types do not know
    for event in engine.connect().events(since=0, until=now, filters=asked, decode=True):
        about = event["Actor"]["Attributes"]
        if about.get("name") in names:
            told = DONE[event["Action"]].format(signal=about.get("signal", "?"))
            yield f"node {names[about['name']]}: {told}"


def _remove_containers(plan: Plan, tell: Tell) -> None:
    from docker.errors import NotFound

    for left in engine.connect().containers.list(all=True, filters={"label": f"{container.LABEL}={plan.run_id}"}):
        try:
            left.remove(force=True)
        except NotFound:
            continue  # the engine was quicker
        tell({"event": "warning", "text": f"container {left.name} was still there; it was removed"})


HERE = Backend(
    render=render,
    machine=lambda spec: machine.inspect(),
    prepare=prepare,
    collect=collect,
    instead=fewer,
)


def _of(spec: JobSpec) -> Backend:
    return ssh.BACKEND if _on_hosts(spec) else HERE


BACKEND = Backend(
    settle=settle,
    render=lambda plan: _of(plan.spec).render(plan),
    machine=lambda spec: _of(spec).machine(spec),
    prepare=lambda plan, folder, tell: _of(plan.spec).prepare(plan, folder, tell),
    collect=lambda plan, folder, lost, tell: _of(plan.spec).collect(plan, folder, lost, tell),
    instead=lambda plan, cause: _of(plan.spec).instead(plan, cause),
    keeps_warm=lambda plan: _of(plan.spec).keeps_warm(plan),
)
