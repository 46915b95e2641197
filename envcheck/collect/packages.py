"""The installed distributions: versions, doubles, unmet requirements, files two of them claim. Nothing is imported."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcheck.sections.libraries import Packages
from envcheck.versions import normal, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envcheck.machine import Machine

STACK = {"torch", "torchvision", "torchaudio", "triton", "numpy", "lightning", "pytorch-lightning", "pytorch-ignite"}
JUDGED = {"torch", "torchvision", "torchaudio", "triton"}
"""Those whose requirements are checked: a mismatch anywhere else is the affair of `pip check`."""
METADATA_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)(?:-.*)?\.(?:dist|egg)-info$")
LIBRARY = re.compile(r"\.so(\.\d+)*$")


class Distribution(NamedTuple):
    """One `*.dist-info` folder."""

    name: str
    version: str
    metadata: Path


def collect(machine: Machine) -> Packages:
    found = list(_distributions(machine.search_path))
    first: dict[str, Distribution] = {}
    for one in found:
        first.setdefault(one.name, one)
    folder = _torch_folder(machine.search_path)
    version_file = _read(folder / "version.py") if folder else ""
    owners, altered = _libraries(one for one in first.values() if one.name.startswith("nvidia-"))
    return Packages(
        installed={name: one.version for name, one in sorted(first.items())},
        duplicates={name: twice for name in sorted(STACK & set(first)) if len(twice := _places(name, found)) > 1},
        torch=_assigned(version_file, "__version__") or (first["torch"].version if "torch" in first else None),
        torch_cuda=_assigned(version_file, "cuda"),
        torch_folder=str(folder) if folder else None,
        requires_python={name: _header(first[name], "Requires-Python") for name in sorted(JUDGED & set(first))},
        unmet=tuple(_unmet(first)),
        contested=tuple(f"{path}: {', '.join(names)}" for path, names in sorted(owners.items()) if len(names) > 1),
        altered=tuple(altered),
    )


def _distributions(search_path: Sequence[str]) -> Iterator[Distribution]:
    for entry in dict.fromkeys(search_path):
        try:
            names = sorted(found.name for found in os.scandir(entry or "."))
        except OSError:
            continue
        for name in names:
            match = METADATA_FOLDER.match(name)
            if match:
                yield Distribution(normal(match["name"]), match["version"], Path(entry) / name)


def _places(name: str, found: list[Distribution]) -> list[str]:
    return [f"{one.version} in {one.metadata.parent}" for one in found if one.name == name]


def _torch_folder(search_path: Sequence[str]) -> Path | None:
    folders = (Path(entry) / "torch" for entry in search_path)
    return next((folder for folder in folders if (folder / "version.py").is_file()), None)


def _assigned(source: str, name: str) -> str | None:
    found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", source, re.MULTILINE)
    return found[1] if found else None


def _header(one: Distribution, name: str) -> str:
    return next(iter(_headers(one, name)), "")


def _headers(one: Distribution, name: str) -> list[str]:
    head = _read(one.metadata / "METADATA").partition("\n\n")[0]
    return [line[len(name) + 1 :].strip() for line in head.splitlines() if line.startswith(f"{name}:")]


def _unmet(first: dict[str, Distribution]) -> Iterator[str]:
    variables = {
        "platform_system": "Linux",
        "sys_platform": sys.platform,
        "os_name": os.name,
        "platform_machine": os.uname().machine,
        "python_version": ".".join(str(part) for part in sys.version_info[:2]),
        "python_full_version": ".".join(str(part) for part in sys.version_info[:3]),
    }
    for name in sorted(JUDGED & set(first)):
        for line in _headers(first[name], "Requires-Dist"):
            wanted = requirement(line, variables)
            if wanted is None:
                continue
            have = first.get(wanted.name)
            if have is None:
                yield f"{name} {first[name].version} wants {wanted}, which is not installed"
            elif not wanted.admits(have.version):
                yield f"{name} {first[name].version} wants {wanted}, {have.version} is installed"


def _libraries(distributions: Iterator[Distribution]) -> tuple[dict[str, list[str]], list[str]]:
    """Who claims which shared library, and the files whose size is not the recorded one."""
    owners: dict[str, list[str]] = {}
    altered = []
    for one in distributions:
        for line in _read(one.metadata / "RECORD").splitlines():
            path, _, rest = line.partition(",")
            if not LIBRARY.search(path):
                continue
            owners.setdefault(path, []).append(one.name)
            size = rest.rpartition(",")[2]
            try:
                real = (one.metadata.parent / path).stat().st_size
            except OSError:
                altered.append(f"{path} of {one.name} is not there")
                continue
            if size.isdigit() and int(size) != real:
                altered.append(f"{path} has {real} bytes, {one.name} {one.version} brought {size}")
    return owners, altered


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
