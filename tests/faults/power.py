"""The campaign over power cuts: what the disk may hold after each call of a training, replayed from the list of calls.

The model is the one that file systems promise, no more: a file's bytes last from its fsync, the names in a folder
from the folder's fsync. What came later may have been lost, per folder from any call on, per file wholly or in part.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.calls import SCENARIOS, Bench, Call, aftermath


@dataclass(eq=False)
class File:
    data: bytes = b""
    lasting: bytes = b""

    def versions(self) -> list[bytes]:
        if self.data == self.lasting:
            return [self.data]
        return [self.lasting, self.data[: len(self.data) // 2], self.data]


@dataclass(eq=False)
class Folder:
    names: dict[str, File | Folder] = field(default_factory=dict)
    history: list[dict[str, File | Folder]] = field(default_factory=list)
    """What the names were after each call since the last fsync, beginning with it."""

    def change(self, name: str, to: File | Folder | None) -> None:
        self.names.pop(name, None)
        if to is not None:
            self.names[name] = to
        self.history.append(dict(self.names))


class Disk:
    """The folder of a run as a disk holds it, followed through a list of calls."""

    def __init__(self, run_dir: Path) -> None:
        self.at = run_dir
        self.root = _lasting(run_dir)

    def follow(self, call: Call) -> None:
        """Apply a call that succeeded."""
        if call.result < 0 or call.name not in _EFFECTS:
            return
        _EFFECTS[call.name](self, call)

    def crashes(self) -> Iterator[dict[str, bytes | None]]:
        """What may be found after a cut now: the bytes of each path (None for a folder)."""
        open_choices = [folder for folder in self._folders() if len(folder.history) > 1]
        for chosen in itertools.product(*(folder.history for folder in open_choices)):
            names = dict(zip(open_choices, chosen, strict=True))
            for version in range(3):
                yield dict(_listing(self.root, names, version, ""))

    def find(self, path: str) -> File | Folder:
        node: File | Folder = self.root
        for part in Path(path).relative_to(self.at).parts:
            assert isinstance(node, Folder)
            node = node.names[part]
        return node

    def parent(self, path: str) -> Folder:
        node = self.find(str(Path(path).parent))
        assert isinstance(node, Folder)
        return node

    def _folders(self) -> Iterator[Folder]:
        waiting, seen = [self.root], set[int]()
        while waiting:
            folder = waiting.pop()
            if id(folder) not in seen:
                seen.add(id(folder))
                yield folder
                nodes = (node for names in folder.history for node in names.values())
                waiting.extend(node for node in nodes if isinstance(node, Folder))


def campaign(bench: Bench, scenario: str) -> Iterator[tuple[str, str | None]]:
    """Each crash that differs from those before, with what was wrong with its end."""
    calls = bench.calls(scenario)
    disk, saved = Disk(bench.folder / scenario), [SCENARIOS[scenario].stands]
    seen = set()
    for number, call in enumerate(calls):
        if call.name == "saved":
            saved.append(int(call.path))
        else:
            disk.follow(moved(call, bench.run_dir, disk.at))
        for crash in disk.crashes():
            key = (max(saved), tuple(sorted(crash.items())))
            if key not in seen:
                seen.add(key)
                make(bench.run_dir, crash)
                wrong = aftermath(bench.run_dir, saved, rotten=SCENARIOS[scenario].rotten)
                yield f"{scenario}: power cut after call {number} ({call.name} {Path(call.path).name})", wrong


def _create(disk: Disk, call: Call) -> None:
    disk.parent(call.path).change(Path(call.path).name, File())


def _write(disk: Disk, call: Call) -> None:
    file = disk.find(call.path)
    assert isinstance(file, File)
    file.data += bytes.fromhex(call.second)


def _sync(disk: Disk, call: Call) -> None:
    node = disk.find(call.path)
    if isinstance(node, File):
        node.lasting = node.data
    else:
        node.history = [dict(node.names)]


def _mkdir(disk: Disk, call: Call) -> None:
    disk.parent(call.path).change(Path(call.path).name, Folder(history=[{}]))


def _remove(disk: Disk, call: Call) -> None:
    disk.parent(call.path).change(Path(call.path).name, None)


def _rename(disk: Disk, call: Call) -> None:
    node, before, after = disk.find(call.path), disk.parent(call.path), disk.parent(call.second)
    assert before is after, "a rename from one folder into another is not modelled"
    before.names.pop(Path(call.path).name)
    after.change(Path(call.second).name, node)


_EFFECTS = {
    "create": _create,
    "write": _write,
    "fsync": _sync,
    "mkdir": _mkdir,
    "unlink": _remove,
    "rmdir": _remove,
    "rename": _rename,
}


def _lasting(path: Path) -> Folder:
    """A folder that has been on the disk for long."""
    names: dict[str, File | Folder] = {}
    for entry in path.iterdir():
        names[entry.name] = _lasting(entry) if entry.is_dir() else File(entry.read_bytes(), entry.read_bytes())
    return Folder(names, [dict(names)])


def _listing(
    folder: Folder, chosen: dict[Folder, dict[str, File | Folder]], version: int, at: str
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in chosen.get(folder, folder.history[-1]).items():
        if isinstance(node, Folder):
            yield at + name, None
            yield from _listing(node, chosen, version, f"{at}{name}/")
        else:
            versions = node.versions()
            yield at + name, versions[min(version, len(versions) - 1)]


def moved(call: Call, before: Path, after: Path) -> Call:
    """The call with its paths under another folder."""
    second = call.second if call.name == "write" else call.second.replace(str(before), str(after), 1)
    return Call(call.name, call.path.replace(str(before), str(after), 1), second, call.result)


def make(run_dir: Path, crash: dict[str, bytes | None]) -> None:
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir()
    for name, data in crash.items():
        if data is None:
            (run_dir / name).mkdir(exist_ok=True)
        else:
            (run_dir / name).write_bytes(data)
