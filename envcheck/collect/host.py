"""The kernel, the operating system and whether this is a container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envcheck.sections.host import Host

if TYPE_CHECKING:
    from envcheck.machine import Machine

CONTAINER_MARKS = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
CGROUP_WORDS = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "lxc": "lxc"}


def collect(machine: Machine) -> Host:
    return Host(
        name=machine.read("/proc/sys/kernel/hostname"),
        kernel=machine.read("/proc/sys/kernel/osrelease"),
        architecture=os.uname().machine,
        cpus=os.cpu_count() or 1,
        system=_pretty_name(machine.read_or_none("/etc/os-release") or ""),
        glibc=_glibc(),
        boot_options=_boot_options(machine.read_or_none("/proc/cmdline") or ""),
        container=_container(machine),
    )


def _boot_options(cmdline: str) -> str:
    """The options that concern GPUs; the rest of a boot line may hold what is nobody's business."""
    return " ".join(word for word in cmdline.split() if "iommu" in word or "kaslr" in word or word.startswith("pci"))


def _glibc() -> str | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except ValueError:  # another C library does not know the name
        return None
    return version if name == "glibc" else None


def _pretty_name(os_release: str) -> str:
    for line in os_release.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return ""


def _container(machine: Machine) -> str:
    if "KUBERNETES_SERVICE_HOST" in machine.environ:
        return "kubernetes"
    for mark, kind in CONTAINER_MARKS.items():
        if machine.path(mark).exists():
            return kind
    cgroup = machine.read_or_none("/proc/1/cgroup") or ""
    return next((kind for word, kind in CGROUP_WORDS.items() if word in cgroup), "")
