"""The container engine: whether one answers that can do what is asked, and which images it holds.

Spoken to through its Python SDK, imported where it is used; the command line only for what the SDK cannot do.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from launcher import shell
from launcher.errors import EnvironmentUnfit, RequestError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

OLDEST = 25
"""The first engine whose containerd image store keeps what BuildKit made, byte for byte."""


def connect() -> DockerClient:
    """A client of the engine that answers; EnvironmentUnfit says which of the usual reasons keeps it from that."""
    try:
        import docker
        from docker.errors import DockerException
    except ImportError:
        raise EnvironmentUnfit("the Python package docker is missing", hint="pip install 'launcher[docker]'") from None
    client = None
    try:
        _knock()
        client = docker.from_env(timeout=600)
        client.ping()
    except (DockerException, OSError) as error:
        if client is not None:
            client.close()
        raise _unanswered(error) from None
    return client


def need_command() -> None:
    """EnvironmentUnfit unless the docker command is there, which builds images and starts a node with its streams."""
    if shutil.which("docker") is None:
        raise EnvironmentUnfit(
            "an engine answers, but the docker command is missing",
            hint="apt-get install docker-cli",
        )


def need_reproducible_builds(client: DockerClient) -> None:
    """EnvironmentUnfit unless this engine's BuildKit can build an image twice to the same digest."""
    version = client.version()["Version"]
    if int(version.split(".")[0]) < OLDEST:
        raise EnvironmentUnfit(
            f"the engine is Docker {version}; images are built alike twice from version {OLDEST} on",
            hint="bash .ci/engine installs Debian's",
        )
    need_command()
    if shell.read(["docker", "buildx", "version"]) is None:
        raise EnvironmentUnfit("docker has no buildx plugin", hint="apt-get install docker-buildx")
    status = dict(client.info().get("DriverStatus") or [])
    if status.get("driver-type") != "io.containerd.snapshotter.v1":
        raise EnvironmentUnfit(
            "the engine does not use the containerd image store, without which images have no lasting digests",
            hint='put {"features": {"containerd-snapshotter": true}} into /etc/docker/daemon.json and restart it',
        )


def keep(client: DockerClient, reference: str, digest: str) -> int:
    """Have the engine keep an image it was just given; its size in bytes, unpacked.

    It gets a second name made of its digest: the engine forgets an image that the next build takes the name from, and
    runs that are gone on with need the image they began in.
    """
    image = client.images.get(reference)
    image.tag(reference.partition(":")[0], tag=digest.removeprefix("sha256:")[:12])
    return sum(layer["Size"] for layer in image.history())


def save(client: DockerClient, reference: str, target: Path) -> Path:
    """Write an image the engine holds to an archive."""
    image = find(client, reference)
    if image is None:
        raise RequestError(f"the engine holds no image {reference}", hint="docker images lists those it holds")
    scratch = target.with_suffix(".part")
    with scratch.open("wb") as stream:
        for piece in image.save(chunk_size=1 << 22):
            stream.write(piece)
    return scratch.replace(target)


def find(client: DockerClient, reference: str) -> Image | None:
    """An image the engine holds; None when it has none of that name. Nothing is ever pulled."""
    from docker.errors import ImageNotFound

    try:
        return client.images.get(reference)
    except ImageNotFound:
        return None


def folders(client: DockerClient) -> list[Path]:
    """Where the engine keeps its images and layers, as far as that is on this machine."""
    return [folder for folder in (Path(client.info()["DockerRootDir"]), Path("/var/lib/containerd")) if folder.is_dir()]


def gpus(client: DockerClient) -> Literal["runtime", "cdi"] | None:
    """How this engine gives GPUs to containers: by NVIDIA's container runtime, by CDI specifications, or not at all."""
    info = client.info()
    if "nvidia" in info.get("Runtimes", {}):
        return "runtime"
    folders = [Path(folder) for folder in info.get("CDISpecDirs") or []]
    return "cdi" if any(any(folder.glob("nvidia*")) for folder in folders) else None


def rootless(client: DockerClient) -> bool:
    """Whether the engine runs as an ordinary user, who is root in its containers."""
    return any("name=rootless" in option for option in client.info().get("SecurityOptions") or [])


def _knock() -> None:
    """OSError where nobody listens on the engine's socket: the SDK would leave the one that it failed with open."""
    scheme, _, path = (os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock").partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(path)


def _unanswered(error: Exception) -> EnvironmentUnfit:
    said = f"{error} {error.__cause__ or ''} {error.__context__ or ''}"
    if "ermission denied" in said:
        return EnvironmentUnfit(
            "an engine is there, but you may not speak to it", hint="sudo usermod -aG docker $USER, then log in again"
        )
    if "No such file" in said or "Connection refused" in said or "FileNotFoundError" in said:
        return EnvironmentUnfit(
            "no Docker engine answers", hint="install Docker, or start it: sudo systemctl start docker"
        )
    return EnvironmentUnfit(f"the Docker engine does not answer: {error}")
