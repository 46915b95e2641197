"""Docker's and CDI's configuration files: whether this host can start a container with its GPUs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from envcheck.sections.gpus import Engine

if TYPE_CHECKING:
    from envcheck.machine import Machine

CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
DEVICE_PATH = re.compile(r"""["']?(?:path|hostPath)["']?\s*:\s*["']?(/dev/nvidia[^\s"',]*)""")


def collect(machine: Machine) -> Engine:
    docker = any(machine.path(path).exists() for path in ("/usr/bin/dockerd", "/usr/local/bin/dockerd", "/etc/docker"))
    specs = [f"{folder}/{name}" for folder in CDI_FOLDERS for name in machine.names(folder) if "nvidia" in name]
    named = {path for spec in specs for path in DEVICE_PATH.findall(machine.read_or_none(spec) or "")}
    return Engine(
        docker=docker,
        nvidia_runtime=_nvidia_runtime(machine) if docker else None,
        cdi_specs=tuple(specs),
        cdi_missing=tuple(sorted(path for path in named if not machine.path(path).exists())),
    )


def _nvidia_runtime(machine: Machine) -> bool:
    try:
        configuration = json.loads(machine.read_or_none("/etc/docker/daemon.json") or "{}")
    except ValueError:
        return False
    return isinstance(configuration, dict) and "nvidia" in configuration.get("runtimes", {})
