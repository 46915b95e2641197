"""The machine itself, its Python and the environment variables that steer training."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Host:
    """The kernel and the operating system."""

    name: str
    kernel: str
    architecture: str
    """As `uname -m` spells it: `x86_64`, `aarch64`."""
    cpus: int
    system: str = ""
    """`PRETTY_NAME` of /etc/os-release."""
    glibc: Optional[str] = None
    boot_options: str = ""
    """Of the kernel's boot line, what concerns GPUs: iommu, kaslr, pci."""
    container: str = ""
    """`docker`, `podman`, `kubernetes`, `lxc`, or empty outside of one."""


@dataclass(frozen=True)
class Python:
    """The interpreter that runs envcheck, which is the one that would run the job."""

    version: str
    executable: str
    prefix: str
    virtual_env: Optional[str] = None
    """`$VIRTUAL_ENV`: the environment the shell believes to be active."""
    path: tuple[str, ...] = ()
    """`sys.path` without the entry of envcheck's own start."""
    user_site: Optional[str] = None
    """The user's site folder, where it is switched on and exists."""
    encoding: str = "utf-8"
    """What text files and pipes are read and written with when nobody says otherwise."""
    shadows: tuple[str, ...] = ()
    """Files in the job's folder that hide a module of the standard library or of the training stack."""


@dataclass(frozen=True)
class Environment:
    """The environment variables that can change a training run; all others are left out, and so are credentials."""

    variables: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.variables.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.variables
