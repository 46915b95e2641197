"""Fetches the wheels of a lock to a folder, each checked by digest, so that an image is built without a network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from launcher import shell
from launcher.errors import EnvironmentUnfit
from launcher.images import locks
from launcher.images.debian import digest
from launcher.images.versions import Variant, Versions

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
GLIBC_MINORS = range(5, 37)  # manylinux tags up to the base's glibc, 2.36


def fetch(versions: Versions, variant: Variant, lock: str, machine: str, folder: Path) -> Path:
    """The folder with every wheel of a lock for a machine's processor; EnvironmentUnfit names what could not be had."""
    folder.mkdir(parents=True, exist_ok=True)
    if not missing(lock, machine, folder):
        return folder
    request = folder / "request.txt"
    request.write_text(lock, encoding="utf-8")
    done = shell.complete(_command(versions, request, machine, folder))
    if done.returncode and variant.torch_wheels:
        done = shell.complete([*_command(versions, request, machine, folder), "--extra-index-url", TORCH_CPU_INDEX])
    if done.returncode:
        last = "\n".join(re.findall(r"ERROR: .*(?:\n +.*)*", done.stderr)[-3:]) or done.stderr[-2000:]
        raise EnvironmentUnfit(f"the wheels of {variant.name} could not be fetched:\n{last}")
    return folder


def missing(lock: str, machine: str, folder: Path) -> list[str]:
    """The distributions of a lock that no file of the folder is, judged by digest alone."""
    held = {digest(file) for file in folder.glob("*.whl")}
    pins = [pin for pin in locks.parse(lock) if locks.applies(pin, machine)]
    return [pin.name for pin in pins if held.isdisjoint(pin.hashes)]


def _command(versions: Versions, request: Path, machine: str, folder: Path) -> list[str]:
    python = versions.base["python"]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS]
    return [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-input"),
        *("--require-hashes", "--only-binary", ":all:", "--no-deps", "--dest", str(folder)),
        *("--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"),
        *("--abi", "abi3", "--abi", "none"),
        *(f"--platform={platform}" for platform in [*platforms, f"manylinux2014_{machine}", f"manylinux1_{machine}"]),
        *("-r", str(request)),
    ]
