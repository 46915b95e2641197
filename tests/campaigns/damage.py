"""The damage campaign: bits, pages and files of committed checkpoints go wrong; none of it may ever be used.

`python -m tests.campaigns.damage --trials 10000 --seed 1` flips every single bit of a small checkpoint, does random
damage to a larger one, prints the closing table, and writes it with `--json FILE`; `--only N` repeats one trial.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher import checkpoints, durable
from launcher.checkpoints import Fault
from launcher.manifest import Damaged, Manifest, verify

LARGE = 8 << 20
"""Bytes of the larger checkpoint's weights."""
PAGE = 4096


class Checkpoints:
    """A run folder with two checkpoints: the newest is damaged, the one before is what must be fallen back to."""

    def __init__(self, folder: Path, size: int) -> None:
        self.root = checkpoints.folder(folder)
        self.root.mkdir(parents=True)
        fence, known = checkpoints.claim(folder, 1), set[str]()
        for step, length in ((1, 64), (2, size)):
            model = random.Random(step).randbytes(length)  # noqa: S311
            contents = {"model": [memoryview(model)], "training": [memoryview(model[: length // 8])]}
            manifest = Manifest(step=step, epoch=0, attempt=1, world_size=1, spec="0" * 64, created="", protected=False)
            checkpoints.save(self.root, manifest, contents, fence=fence, keep=2, known=known, report=lambda fault: None)
        self.before, self.newest = (self.root / f"step-{step:08d}" for step in (1, 2))
        self.files = sorted(path for path in self.newest.iterdir())

    def wrong(self, changed: str) -> str | None:
        """What is wrong about how the damage was met; afterwards the newest checkpoint's folder may be gone."""
        faults: list[Fault] = []
        found = checkpoints.newest_verified(self.root, faults.append)
        if found is None or found[0] != self.before.name:
            return f"goes on from {found and found[0]}"
        if not any(changed in str(fault) for fault in faults):
            return f"does not name {changed}: {'; '.join(map(str, faults))}"
        return None


def every_bit(folder: Path) -> tuple[int, list[str]]:
    """Flip each bit of each file of a small checkpoint; how many there were, and those that nobody noticed."""
    made, bits, unseen = Checkpoints(folder, 256), 0, []
    for path in made.files:
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            bits += 1
            try:
                verify(made.newest)
                unseen.append(f"bit {bit} of {path.name}")
            except Damaged:
                pass
        path.write_bytes(whole)
    return bits, unseen


def flip_a_bit(path: Path, _made: Checkpoints, chance: random.Random) -> None:
    at = chance.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        byte = file.read(at + 1)[-1]
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def zero_a_page(path: Path, _made: Checkpoints, chance: random.Random) -> None:
    at = chance.randrange(0, path.stat().st_size, PAGE)
    with path.open("r+b") as file:
        file.seek(at)
        length = min(PAGE, path.stat().st_size - at)
        file.write(bytes(length))


def cut(path: Path, _made: Checkpoints, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def lengthen(path: Path, _made: Checkpoints, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(bytes(chance.randint(1, PAGE)))


def remove(path: Path, _made: Checkpoints, _chance: random.Random) -> None:
    path.unlink()


def swap(path: Path, made: Checkpoints, _chance: random.Random) -> None:
    """The file of the same name from another step."""
    shutil.copyfile(made.before / path.name, path)


DAMAGE: dict[str, Callable[[Path, Checkpoints, random.Random], None]] = {
    "flipped bit": flip_a_bit,
    "zeroed page": zero_a_page,
    "truncated file": cut,
    "longer file": lengthen,
    "missing file": remove,
    "swapped file": swap,
}


def trial(made: Checkpoints, kept: Path, seed: int, number: int) -> tuple[str, str | None]:
    """Damage the newest checkpoint in one way, look how that is met, and put everything back from `kept`."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311
    kind = chance.choice(list(DAMAGE))
    path = chance.choice(made.files)
    DAMAGE[kind](path, made, chance)
    wrong = made.wrong(path.name)
    for bad in [*made.root.glob("bad-*"), *made.root.glob(".bad-*")]:
        bad.rename(made.newest)
    shutil.copyfile(kept / path.name, path)
    return kind, f"{kind} of {path.name}: {wrong}" if wrong else None


def at_random(folder: Path, seed: int, numbers: range) -> Iterator[tuple[int, str, str | None]]:
    made, kept = Checkpoints(folder / "run", LARGE), folder / "kept"
    shutil.copytree(made.newest, kept)
    for number in numbers:
        kind, wrong = trial(made, kept, seed, number)
        yield number, kind, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="TRIAL")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    began = time.monotonic()
    durable.sync_folder = lambda path: None  # nothing here is about power cuts
    with tempfile.TemporaryDirectory(prefix="damage-") as name:
        bits, unseen = every_bit(Path(name) / "small")
        numbers = range(chosen.trials) if chosen.only is None else range(chosen.only, chosen.only + 1)
        done = list(at_random(Path(name) / "large", chosen.seed, numbers))
    for number, _, wrong in done:
        if wrong:
            unseen.append(wrong)
            print(f"{wrong}\n  repeat with: python -m tests.campaigns.damage --seed {chosen.seed} --only {number}")
    report = {
        "seed": chosen.seed,
        "every bit of a small checkpoint": bits,
        "random damage to a larger one": len(done),
        "by kind": dict(sorted(Counter(kind for _, kind, _ in done).items())),
        "not noticed, or not named": len(unseen),
        "seconds": round(time.monotonic() - began, 1),
    }
    for key, value in report.items():
        print(f"{key:36} {value}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(bool(unseen))


if __name__ == "__main__":
    main()
