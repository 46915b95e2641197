"""An image's bill of materials in CycloneDX, made from what decided its content: the same bytes for the same image."""

from __future__ import annotations

from typing import Any

from launcher.images.build import Built
from launcher.images.locks import Pin


def bill(built: Built, pins: list[Pin], packages: str) -> dict[str, Any]:
    """The document: Python distributions from the lock, Debian packages from the base's record. No clock, no UUID."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "name": built.reference,
                "version": built.digest,
                "hashes": [_hash(built.digest.removeprefix("sha256:"))],
            }
        },
        "components": [*(_distribution(pin) for pin in pins), *(_package(line) for line in _lines(packages))],
    }


def _distribution(pin: Pin) -> dict[str, Any]:
    """Without digests: the lock names those of every file it admits, not only of the one installed."""
    return {
        "type": "library",
        "name": pin.name,
        "version": pin.version,
        "purl": f"pkg:pypi/{pin.name}@{pin.version.replace('+', '%2B')}",
    }


def _package(line: str) -> dict[str, Any]:
    name, version, digest = line.split()
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}",
        "hashes": [_hash(digest)],
    }


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _lines(packages: str) -> list[str]:
    return [line for line in packages.splitlines() if line and not line.startswith("#")]
