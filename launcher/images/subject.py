"""An image under trial, and the hardened containers in which it is tried."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.images.build import Built
from launcher.images.versions import Variant

if TYPE_CHECKING:
    from docker import DockerClient

SCRATCH = {"/tmp": "size=1g,exec"}  # noqa: S108 (a container's own)

# Hardened as far as a batch job can be; every trial runs so.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": SCRATCH,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network_mode": "none",
    "pids_limit": 1024,
    "shm_size": "1g",
}
# One look for several trials: to import torch takes seconds.
DESCRIBE = """
import json, subprocess, torch
from importlib.metadata import distributions
nccl = torch.cuda.nccl.version() if torch.version.cuda else None
listed = subprocess.check_output(["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"], text=True)
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    "nccl": ".".join(map(str, nccl)) if nccl else None, "architectures": torch.cuda.get_arch_list(),
    "distributions": {d.metadata["Name"]: d.version for d in distributions()},
    "packages": [line.split() for line in listed.splitlines()],
}))
"""


class Skipped(Exception):
    """The trial cannot be held here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """What the trials are about."""

    root: Path
    variant: Variant
    target: str
    built: Built
    client: DockerClient

    @cached_property
    def description(self) -> dict[str, Any]:
        """What torch and the package databases say inside the image."""
        said = self.succeed(["python", "-c", DESCRIBE])
        seen: dict[str, Any] = json.loads(said.splitlines()[-1])
        return seen

    @cached_property
    def distributions(self) -> dict[str, str]:
        """Python distributions in the image, under the names that locks use."""
        found = self.description["distributions"]
        return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found.items()}

    def run(self, command: Sequence[str], **options: Any) -> tuple[int, str]:
        """Run a command in a fresh, hardened container; its exit code and all it wrote."""
        container = self.client.containers.create(self.built.digest, list(command), **{**HARDENED, **options})
        try:
            container.start()
            code = container.wait(timeout=600)["StatusCode"]
            return code, container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)

    def succeed(self, command: Sequence[str], **options: Any) -> str:
        """Run a command that must end with 0; what it wrote."""
        code, said = self.run(command, **options)
        need(code == 0, said[-3000:])
        return said


def need(held: bool, otherwise: str) -> None:
    """AssertionError, which fails the trial, unless it held."""
    if not held:
        raise AssertionError(otherwise)
