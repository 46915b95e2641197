"""The `storage` section: the folders of a run, looked at by a child process that may hang in our place."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envcheck.machine import Absent
from envcheck.sections.storage import Folder, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcheck.machine import Machine

SECONDS = 8.0
STEP = re.compile(r"step-\d+$")
QUOTA_LINE = re.compile(r"^\s*(\S+)\s+(\d+)(\*?)\s+(\d+)\s+(\d+)")


def collect(machine: Machine) -> Storage:
    wishes = {role: path for role, path in _roles(machine) if path}
    request = {
        role: {"path": path, "write": role in ("run", "temporary", "home"), "lock": role == "run"}
        for role, path in wishes.items()
    }
    home = str(Path(__file__).absolute().parent.parent.parent)
    program = f"import sys; sys.path.insert(0, {home!r}); from envcheck import probe_storage as p; p.main(sys.argv[1])"
    answer = machine.run([sys.executable, "-I", "-S", "-c", program, json.dumps(request)], SECONDS)
    if answer.returncode != 0:
        raise Absent((answer.stderr.strip() or "the storage probe failed").splitlines()[-1])
    mounts = sorted(_mounts(machine.read_or_none("/proc/self/mountinfo") or ""), key=lambda one: len(one[0]))
    seen = json.loads(answer.stdout)
    folders = {role: _folder(path, seen.get(role), mounts) for role, path in wishes.items()}
    checkpoint, damaged = _newest_checkpoint(Path(wishes["run"])) if not folders["run"].hung else (None, ())
    return Storage(folders, quota=_quota(machine), damaged=tuple(damaged), checkpoint=checkpoint)


def _roles(machine: Machine) -> Iterator[tuple[str, str]]:
    environ = machine.environ
    home = environ.get("HOME", "")
    temporary = environ.get("TMPDIR") or "/tmp"
    cache = environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    hub = environ.get("HF_HOME") or (f"{cache}/huggingface" if cache else "")
    user = environ.get("LOGNAME") or environ.get("USER") or "user"
    yield "run", machine.need.run_dir or machine.need.workdir or "."
    yield "temporary", temporary
    yield "home", home
    yield "triton", environ.get("TRITON_CACHE_DIR") or (f"{home}/.triton/cache" if home else "")
    yield "inductor", environ.get("TORCHINDUCTOR_CACHE_DIR") or f"{temporary}/torchinductor_{user}"
    yield "huggingface", environ.get("HF_HUB_CACHE") or (f"{hub}/hub" if hub else "")


def _folder(path: str, seen: dict[str, Any] | None, mounts: list[tuple[str, str]]) -> Folder:
    if seen is None:
        return Folder(path, exists=False, hung=True)
    told = dict(seen)
    real, _ = told.pop("real"), told.pop("there", None)
    inside = [kind for mount, kind in mounts if real == mount or real.startswith(mount.rstrip("/") + "/")]
    return Folder(path, filesystem=inside[-1] if inside else "", **told)


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Where, and what kind; of several at one place the last one counts."""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        if dash:
            yield re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), left.split()[4]), right.split()[0]


def _quota(machine: Machine) -> str | None:
    """`quota` marks what is over its limit with an asterisk."""
    try:
        said = machine.run(["quota", "-w"], 2).stdout
    except Absent:
        return None
    for line in said.splitlines():
        found = QUOTA_LINE.match(line)
        if found and (found[3] or (int(found[5]) and int(found[2]) >= int(found[5]))):
            return f"{found[1]}: {found[2]} of {found[5]} blocks"
    return None


def _newest_checkpoint(run_dir: Path) -> tuple[str | None, list[str]]:
    """The newest folder `checkpoints/step-<n>` against its own manifest: names and sizes, no contents."""
    root = run_dir / "checkpoints"
    try:
        names = [entry.name for entry in root.iterdir() if STEP.match(entry.name)]
        newest = max(names, key=lambda name: int(name[5:]))
    except (OSError, ValueError):
        return None, []
    try:
        files = json.loads((root / newest / "manifest.json").read_text(encoding="utf-8"))["files"]
        expected = {name: int(one["size"]) for name, one in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return newest, [f"manifest.json: {type(error).__name__}"]
    return newest, list(_differing(root / newest, expected))


def _differing(folder: Path, expected: dict[str, int]) -> Iterator[str]:
    for name, size in expected.items():
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            yield f"{name}: {error.strerror}"
            continue
        if found != size:
            yield f"{name}: {found} bytes of {size}"
