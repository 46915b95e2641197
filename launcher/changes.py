"""What is no longer as a run's record has it: the files that are trained from, the commit, the versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher import provenance, readback
from launcher.store import RunFolder


def since(folder: RunFolder) -> list[str]:
    """What has changed since the run began, in words; a run that goes on all the same may give other bits."""
    about = readback.json_object_or_none(folder.record) or {}
    return [*_target(_mapping(about.get("target"))), *_git(folder, about), *_versions(_mapping(about.get("versions")))]


def _target(then: Mapping[str, Any]) -> Iterator[str]:
    file = then.get("file")
    if file and provenance.digest(Path(str(file))) != then.get("sha256"):
        yield f"{file} has changed"


def _git(folder: RunFolder, about: Mapping[str, Any]) -> Iterator[str]:
    then, job_dir = _mapping(about.get("git")), Path(str(about.get("job_path"))).parent
    now, patch = provenance.of_git(job_dir) if then and job_dir.is_dir() else (None, "")
    if now is None:
        return
    if now["commit"] != then.get("commit"):
        yield f"the commit was {str(then.get('commit'))[:12]} and is {now['commit'][:12]}"
        return
    before = _files(folder.patch.read_text(errors="replace") if folder.patch.is_file() else "")
    after = _files(patch)
    target = str(_mapping(about.get("target")).get("file"))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and not target.endswith(f"/{name}"):
            yield f"{name} has changed"


def _files(patch: str) -> dict[str, str]:
    """A patch's part for each file, by its name."""
    parts = f"\n{patch}".split("\ndiff --git ")[1:]
    return {part.partition("\n")[0].rpartition(" b/")[2]: part.strip() for part in parts}


def _versions(then: Mapping[str, Any]) -> Iterator[str]:
    for name, now in provenance.versions().items():
        if name in then and then[name] != now:
            yield f"{name} was {then[name]} and is {now}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
