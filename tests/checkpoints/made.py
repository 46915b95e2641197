"""A run folder whose checkpoints hold two small files each."""

from __future__ import annotations

from pathlib import Path

from launcher import checkpoints
from launcher.checkpoints import ALONE, Fault, Others
from launcher.manifest import Manifest


class Run:
    """Saves as attempt number `attempt` at the run."""

    def __init__(self, path: Path, attempt: int = 1) -> None:
        self.path, self.root, self.attempt = path, checkpoints.folder(path), attempt
        self.fence = checkpoints.claim(path, attempt)
        self.known: set[str] = set()
        self.faults: list[Fault] = []

    def save(
        self, step: int, *, model: bytes = b"weights", protected: bool = False, keep: int = 2, others: Others = ALONE
    ) -> Path:
        contents = {"model": [memoryview(model), memoryview(b"%d" % step)], "training": [memoryview(b"{}")]}
        manifest = blank(step, attempt=self.attempt, protected=protected)
        checkpoints.save(
            self.root,
            manifest,
            contents,
            fence=self.fence,
            keep=keep,
            known=self.known,
            report=self.faults.append,
            others=others,
        )
        return self.root / manifest.name

    def newest(self) -> str | None:
        found = checkpoints.newest_verified(self.root, self.faults.append)
        return found[0] if found else None

    def listing(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())


def blank(step: int, *, attempt: int = 1, protected: bool = False) -> Manifest:
    return Manifest(
        step=step, epoch=0, attempt=attempt, world_size=1, spec="0" * 64, created="then", protected=protected
    )


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
