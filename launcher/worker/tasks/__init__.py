"""Task adapters by kind: who owns the training loop. Each is a module with `run(context) -> Outcome`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from importlib import metadata
from typing import Protocol, cast

from launcher.errors import EnvironmentUnfit, RequestError
from launcher.worker.context import Context, Outcome

MODULES: dict[str, str] = {
    "native": "launcher.worker.tasks.native",
    "lightning": "launcher.worker.tasks.lightning",
    "ignite": "launcher.worker.tasks.ignite",
    "script": "launcher.worker.tasks.script",
}
PACKAGES: dict[str, tuple[str, ...]] = {
    "lightning": ("lightning.pytorch", "pytorch_lightning"),
    "ignite": ("ignite.engine",),
}
"""What a kind needs beside torch: one of these, from the extra of the kind's own name."""
COMPROMISED = {"lightning": ("2.6.2", "2.6.3")}
"""Releases that carried malicious code, by distribution; pyproject.toml and images/versions.toml refuse them too."""
MAKES_ITS_OWN_GROUP = frozenset({"script"})
"""Kinds whose target initializes the process group itself, as under torchrun."""


class Adapter(Protocol):
    def run(self, context: Context) -> Outcome: ...


def load(kind: str) -> Adapter:
    """Import the kind's module. Raises RequestError where the package it needs is not installed, and EnvironmentUnfit
    where it is a release that must not be imported."""
    if kind in PACKAGES and not _installed(kind):
        raise RequestError(
            f"task.kind {kind} needs the package {' or '.join(PACKAGES[kind])}, which is not installed here",
            hint=f"pip install 'launcher[{kind}]'",
        )
    _check_releases(kind)
    return cast(Adapter, importlib.import_module(MODULES[kind]))


def preload(kind: str) -> None:
    """Import what the kind takes seconds to import, before ranks are forked. What fails here, fails in them, and is
    told by them."""
    with contextlib.suppress(Exception):
        load(kind)
        for package in _installed(kind)[:1]:
            importlib.import_module(package)


def _check_releases(kind: str) -> None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        if kind in COMPROMISED and (release := metadata.version(kind)) in COMPROMISED[kind]:
            raise EnvironmentUnfit(
                f"{kind} {release} is installed here, a release that carried malicious code: it is not imported",
                hint=f"pip install --upgrade 'launcher[{kind}]', and change the secrets that this machine holds",
            )


def _installed(kind: str) -> list[str]:
    return [name for name in PACKAGES.get(kind, ()) if importlib.util.find_spec(name.partition(".")[0])]
