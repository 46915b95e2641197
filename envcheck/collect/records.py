"""Whether a mapped library still has the digest its distribution recorded when it was installed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SITE = "site-packages/"


def altered(paths: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each file of a site-packages folder whose SHA-256 no RECORD there tells."""
    for path in paths:
        site, found, relative = path.partition(SITE)
        recorded = dict(_recorded(Path(site + found), relative)) if found else {}
        if recorded and _digest(Path(path)) not in recorded.values():
            yield f"{path} is not the file that {' or '.join(recorded)} brought"


def _recorded(site: Path, relative: str) -> Iterator[tuple[str, str]]:
    """Distribution and digest of every RECORD that claims the file."""
    for record in site.glob("nvidia_*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{relative},sha256="):
                yield record.parent.name.partition(".dist-info")[0], line.split(",")[1].partition("=")[2]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
