"""Wrappers that put a command into namespaces of its own, and what of this is to be had on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

SHELL = ["sh", "-euc"]


def inside(setup: str, *flags: str) -> list[str]:
    """argv to put before a command: `setup` runs first, as root of new namespaces (unshare's `flags`)."""
    return ["unshare", *flags, "--", *SHELL, f'{setup}\nexec "$@"', "inside"]


def demand(*needs: str) -> None:
    """Skip the running test, with the reason, where a command is missing or namespaces cannot be made."""
    for need in needs:
        if need == "namespaces":
            if reason := why_no_namespaces():
                pytest.skip(reason)
        elif shutil.which(need) is None:
            pytest.skip(f"{need} is not installed (tests/system-packages.txt)")


@cache
def why_no_namespaces() -> str:
    """The reason; empty where they can be made."""
    if os.geteuid() != 0:
        return "namespaces are made by root only"
    trial = ["unshare", "--net", "--mount", "--pid", "--fork", *SHELL, "mount -t tmpfs -o size=1m none /mnt"]
    made = subprocess.run(trial, capture_output=True, text=True, timeout=30, check=False)
    return f"namespaces cannot be made here: {made.stderr.strip()}" if made.returncode else ""


def tmpfs(where: str, options: str) -> str:
    return f"mount -t tmpfs -o {options} none {where}"


def hosts(text: str) -> str:
    """Replace /etc/hosts, and let nobody else answer."""
    quoted = text.replace("\n", "\\n")
    return (
        f"{tmpfs('/mnt', 'size=1m')}; printf '{quoted}\\n' > /mnt/hosts; mount --bind /mnt/hosts /etc/hosts; "
        "printf 'hosts: files\\n' > /mnt/nsswitch; mount --bind /mnt/nsswitch /etc/nsswitch.conf"
    )


def network(*setup: str) -> list[str]:
    """A wrapper with a network namespace of its own: loopback is up, /sys shows its cards, /run is empty."""
    first = "mount -t sysfs none /sys; mount -t tmpfs none /run; ip link set lo up"
    return inside("; ".join([first, *setup]), "--net", "--mount", "--uts")


def card(name: str, address: str) -> str:
    """A network card that is up: one end of a pair of virtual ones, whose other end is up too."""
    peer = f"p-{name}"[:15]
    return (
        f"ip link add {name} type veth peer name {peer}; ip addr add {address} dev {name}; "
        f"ip link set {name} up; ip link set {peer} up"
    )
