"""A container engine on each of the lab's nodes, and an image of this machine's Python with launcher in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import xxhash

from tests.cluster.lab import NODES, Lab, until

START = """
set -e
mount --make-rprivate /
mount --bind {lab}/{node}/etc /etc
mount --bind {lab}/{node}/local {lab}/local
hostname {node}
exec dockerd --host unix://{lab}/local/docker.sock --data-root {path}/data --exec-root {path}/run --pidfile {path}/pid \
 --bridge none --iptables=false --ip6tables=false
"""
PYTHON = Path(os.path.realpath(sys.executable))
CONFIG = Path(str(sysconfig.get_config_var("LIBPL"))).name
LEFT_OUT = {"site-packages", "test", "__pycache__", CONFIG, "ensurepip", "idlelib", "tkinter"}
NEEDED = (xxhash,)
TORCH = "Name: torch\nVersion: 2.13.0+cpu\n"


def missing() -> str | None:
    tools = [tool for tool in ("dockerd", "docker", "containerd", "runc") if not shutil.which(tool)]
    return f"needs {', '.join(tools)}: see tests/system-packages.txt" if tools else None


class Engines:
    """One engine a node, which the node's own users reach as DOCKER_HOST says; they end with the lab."""

    def __init__(self, lab: Lab, code: Path) -> None:
        """`code` is the folder with the launcher that goes into the image."""
        self._lab = lab
        for node in NODES:
            path = lab.path / f"docker-{node}"
            path.mkdir()
            lab.serve(node, START.format(lab=lab.path, node=node, path=path))
            if not until(lambda node=node: self.docker(node, "version") != "", 60):  # type: ignore[misc]
                raise RuntimeError(f"{node}: no engine: {(lab.path / f'{node}.log').read_text()[-2000:]}")
        self.image = self._fill(code)

    def docker(self, node: str, *words: str) -> str:
        """What a command of docker's prints on a node; nothing where it fails."""
        return self._lab.ssh(node, "docker", *words).stdout.strip()

    def containers(self, node: str) -> list[str]:
        return self.docker(node, "ps", "--all", "--format", "{{.Names}}").split()

    def _fill(self, code: Path) -> str:
        """The digest of the image, the same on every node."""
        with tempfile.TemporaryDirectory(dir=self._lab.path) as scratch:
            files, image = Path(scratch, "files.tar"), Path(scratch, "image.tar")
            with tarfile.open(files, "w") as archive:
                for path, name in _files(code):
                    archive.add(path, name, recursive=False)
            digest = self.docker(NODES[0], "import", "--change", "'ENV PATH=/py/bin:/bin'", str(files))
            self.docker(NODES[0], "save", "--output", str(image), digest)
            for node in NODES[1:]:
                self.docker(node, "load", "--input", str(image))
        return digest


def _files(code: Path) -> Iterator[tuple[Path, str]]:
    """What an image needs to run Python: the interpreter, what it is linked to, its library and launcher's code."""
    packages = f"py/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    yield PYTHON, "py/bin/python"
    library = Path(os.__file__).parent
    yield from ((path, f"{Path(packages).parent}/{path.relative_to(library)}") for path in _whole(library))
    for package in (code / "launcher", code / "envcheck", *(Path(str(each.__file__)).parent for each in NEEDED)):
        yield from ((path, f"{packages}/{path.relative_to(package.parent)}") for path in _whole(package))
    about = code / "torch-2.13.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(TORCH)
    yield from ((path, f"{packages}/{about.name}/{path.name}") for path in about.iterdir())
    programs = [Path(found) for name in ("sh", "sleep", "setsid") if (found := shutil.which(name))]
    yield from ((path.resolve(), f"bin/{path.name}") for path in programs)
    compiled = [path for package in NEEDED for path in Path(str(package.__file__)).parent.glob("*.so")]
    for path in _linked([PYTHON, *programs, *compiled, *library.glob("lib-dynload/*.so")]):
        yield path.resolve(), f"lib/{path.name}"
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    yield loader.resolve(), str(loader)[1:]


def _whole(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT:
            continue
        if path.is_dir():
            yield from _whole(path)
        elif path.is_file():
            yield path


def _linked(programs: list[Path]) -> set[Path]:
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return {Path(line.split(" => ")[1].split(" (")[0]) for line in said.splitlines() if " => /" in line}
