"""Makes the hash locks: asks uv for a resolution that depends on the pin file and a date, not on this machine."""

from __future__ import annotations

import datetime
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from launcher import shell
from launcher.errors import EnvironmentUnfit
from launcher.images import debian, locks
from launcher.images.locks import Pin
from launcher.images.versions import Variant, Versions, read

COMMON = "cpu"
"""The variant locked first; the others take its version of every distribution they share."""


def make(root: Path, versions: Versions) -> dict[str, str]:
    """The text of every lock, by name: the variants, what their `devel` targets hold beside, and `test`."""
    resolve = _Resolver(root, versions)
    common = _with_recorded_wheels(versions.variants[COMMON], resolve(versions.variants[COMMON]))
    shared = [f"{pin.name}=={pin.version}" for pin in common if pin.name != "torch"]
    made = {COMMON: common}
    for name, variant in versions.variants.items():
        if name != COMMON:
            made[name] = _with_recorded_wheels(variant, resolve(variant, constraints=[*shared, *variant.constraints]))
        if variant.devel:
            fixed = [f"{pin.name}=={pin.version}" for pin in made[name] if pin.name != "torch"]
            compilers = resolve(variant, constraints=fixed, requirements=variant.devel)
            made[locks.devel(variant)] = _without(made[name], compilers)
    tests = resolve(versions.variants[COMMON], constraints=shared, more_extras=["test"])
    made["test"] = _without(common, tests)
    return {name: locks.render(pins) for name, pins in made.items()}


class _Resolver:
    def __init__(self, root: Path, versions: Versions) -> None:
        self.root = root
        self.rules = versions.locks
        self.uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if self.uv is None:
            raise EnvironmentUnfit("uv is missing: it resolves the locks", hint="./install --tests")

    def __call__(
        self,
        variant: Variant,
        *,
        constraints: Iterable[str] = (),
        more_extras: Iterable[str] = (),
        requirements: Iterable[str] = (),
    ) -> list[Pin]:
        refused = [release.replace("==", "!=") for release in self.rules["refused"]]
        with tempfile.TemporaryDirectory() as scratch:
            inputs = {
                "constraints": "\n".join([*refused, *constraints]),
                "override": f"torch=={variant.torch}",
                "build": "\n".join(["setuptools>=77", *requirements]),
            }
            for name, text in inputs.items():
                (Path(scratch) / name).write_text(text + "\n", encoding="utf-8")
            argv = self._command(Path(scratch), [*self.rules["extras"], *more_extras], bool(variant.torch_wheels))
            done = shell.complete(argv, env=_environment())
        if done.returncode:
            raise EnvironmentUnfit(f"{variant.name} could not be locked:\n{done.stderr.strip()[-2000:]}")
        return locks.parse(done.stdout)

    def _command(self, scratch: Path, extras: list[str], wheels_beside_the_index: bool) -> list[str]:
        sources = os.environ.get("PIP_FIND_LINKS", "").split() if wheels_beside_the_index else []
        if wheels_beside_the_index and not sources:
            sources = ["https://download.pytorch.org/whl/cpu/torch/"]
        return [
            *(str(self.uv), "pip", "compile", "--quiet", "--no-config", "--universal", "--fork-strategy", "fewest"),
            *("--python-version", self.rules["python"], "--exclude-newer", str(self.rules["released_before"])),
            *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
            *("--constraints", str(scratch / "constraints"), "--overrides", str(scratch / "override")),
            *(word for extra in extras for word in ("--extra", extra)),
            *(word for source in sources for word in ("--find-links", source)),
            *(str(self.root / "pyproject.toml"), str(scratch / "build")),
        ]


def differences(before: str, after: str) -> list[str]:
    """What a new lock changes, one sentence a distribution."""
    old, new = _by_name(before), _by_name(after)
    found = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was is None or now is None or not _say_the_same(was, now):
            versions = [pin.version if pin else "absent" for pin in (was, now)]
            same = versions[0] == versions[1]
            found.append(
                f"{name} {versions[0]}: other digests or marker" if same else f"{name} {' -> '.join(versions)}"
            )
    return found


def upgraded(versions: Versions, today: datetime.date) -> Versions:
    """The pins with their age limit caught up: releases up to `minimum_age_days` before today are taken."""
    newest = today - datetime.timedelta(days=versions.locks["minimum_age_days"])
    return replace(versions, locks={**versions.locks, "released_before": newest})


def write_age_limit(root: Path, versions: Versions) -> None:
    """Let the pin file say until when releases are taken."""
    path = root / "images" / "versions.toml"
    line = f"released_before = {versions.locks['released_before']}"
    path.write_text(re.sub(r"(?m)^released_before = \S+", line, path.read_text(encoding="utf-8")), encoding="utf-8")


def record_base(root: Path, kind: str, archive: str | None, *, write: bool) -> list[str]:
    """What is no longer as the packages of a base are recorded, a sentence a package; recorded anew if `write`."""
    with tempfile.TemporaryDirectory() as scratch:
        record = debian.bootstrap(read(root), kind, Path(scratch), archive)[1]
    path = debian.record_path(root, kind)
    changes = debian.differences(path.read_text(encoding="utf-8") if path.exists() else "", record)
    if write:
        path.write_text(record, encoding="utf-8")
    return changes


def _say_the_same(was: Pin, now: Pin) -> bool:
    """Whether two pins hold for the same machines: uv spells one condition in several ways."""
    return replace(was, marker="") == replace(now, marker="") and _meaning(was.marker) == _meaning(now.marker)


def _meaning(marker: str) -> list[bool]:
    """Where a marker holds, over every combination of what the locks' markers ask about."""
    from packaging.markers import Marker

    asked = itertools.product(
        ("x86_64", "aarch64", "arm64", "other"), ("linux", "darwin", "win32"), ("3.11", "3.12", "3.13", "3.14")
    )
    return [
        not marker
        or Marker(marker).evaluate(
            {
                "platform_machine": machine,
                "sys_platform": system,
                "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
                "python_version": python,
                "python_full_version": f"{python}.0",
            }
        )
        for machine, system, python in asked
    ]


def _without(held: Iterable[Pin], pins: Iterable[Pin]) -> list[Pin]:
    names = {pin.name for pin in held}
    return [pin for pin in pins if pin.name not in names]


def _by_name(text: str) -> dict[str, Pin]:
    return {pin.name: pin for pin in locks.parse(text)}


def _with_recorded_wheels(variant: Variant, pins: list[Pin]) -> list[Pin]:
    digests = tuple(sorted(digest for _, digest in variant.torch_wheels))
    return [replace(pin, hashes=digests) if pin.name == "torch" and digests else pin for pin in pins]


def _environment() -> dict[str, str]:
    """Ours without what would point pip or uv elsewhere; certificates and proxies stay."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never"}
