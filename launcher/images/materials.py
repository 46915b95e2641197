"""An image's bill of materials in CycloneDX, from what is found in it: the same bytes for the same image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from launcher.images.build import Built

Package = tuple[str, str, str]
"""A Debian package's name, version and architecture."""


def bill(built: Built, distributions: Mapping[str, str], packages: Sequence[Package], recorded: str) -> dict[str, Any]:
    """The document. Debian packages carry the digest that the base's record has for that very version; Python
    distributions none, for a lock names those of every file it admits. No clock, no UUID."""
    digests = {(row[0], row[1]): row[2] for row in map(str.split, recorded.splitlines()) if len(row) == 3}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": built.digest,
                "name": built.reference,
                "version": built.digest,
                "hashes": [_hash(built.digest.removeprefix("sha256:"))],
            }
        },
        "components": [
            *(
                _component(f"pkg:pypi/{name}@{quote(version)}", name, version)
                for name, version in sorted(distributions.items())
            ),
            *(
                _component(
                    f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}",
                    name,
                    version,
                    digests.get((name, version)),
                )
                for name, version, architecture in sorted(packages)
            ),
        ],
    }


def _component(purl: str, name: str, version: str, digest: str | None = None) -> dict[str, Any]:
    hashes = {"hashes": [_hash(digest)]} if digest else {}
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **hashes}


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}
