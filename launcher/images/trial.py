"""What an image must do before it is trusted: each trial runs in a container of it and says what it saw."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import shell
from launcher.errors import EnvironmentUnfit
from launcher.images import build, debian, engine, locks, materials
from launcher.images.build import Built
from launcher.images.versions import Variant

if TYPE_CHECKING:
    from docker import DockerClient

STOPPED_WITHIN = 5.0
"""Seconds from SIGTERM to the end of a training container."""

SCRATCH = {"/tmp": "size=1g,exec"}  # noqa: S108 (a container's own)

# Hardened as far as a batch job can be; every trial runs so.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": SCRATCH,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network_mode": "none",
    "pids_limit": 1024,
    "shm_size": "1g",
}
TRAIN = ["launcher", "run", "jobs/mlp.yaml", "--procs-per-node", "2"]
# Who runs, and every file that should not be there.
LOOK = """
id -u
find / -xdev -perm /6000 -type f 2>/dev/null
ls -d /opt/pip /opt/venv/bin/pip* /usr/bin/*gcc* /root/.cache /etc/apt/sources.list 2>/dev/null
find /var/log /var/cache /var/lib/apt/lists -type f ! -name lock 2>/dev/null
"""

READ_VERSIONS = """
import ctypes, json, torch
from importlib.metadata import distributions
nccl = torch.cuda.nccl.version() if torch.version.cuda else None
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    "nccl": ".".join(map(str, nccl)) if nccl else None, "architectures": torch.cuda.get_arch_list(),
    "packages": {d.metadata["Name"]: d.version for d in distributions()},
}))
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one trial ended; `passed` is None for one that could not be held here."""

    name: str
    passed: bool | None
    saw: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the trials are about."""

    root: Path
    variant: Variant
    built: Built
    client: DockerClient

    def run(self, command: Sequence[str], **options: Any) -> tuple[int, str]:
        """Run a command in a fresh, hardened container; its exit code and all it wrote."""
        container = self.client.containers.create(self.built.digest, list(command), **{**HARDENED, **options})
        try:
            container.start()
            code = container.wait(timeout=600)["StatusCode"]
            return code, container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)


def run(root: Path, variant: Variant, report: Path | None) -> Iterator[Result]:
    """Hold every trial, one after another."""
    client = engine.connect()
    built = build.last(variant)
    if built is None or engine.find(client, built.digest) is None:
        raise EnvironmentUnfit(f"{variant.name} is not built here", hint=f"launcher images build {variant.name}")
    subject = Subject(root=root, variant=variant, built=built, client=client)
    target = report or Path(built.archive).with_suffix(".cdx.json")
    for name, trial in [*TRIALS.items(), ("a bill of materials is written", lambda of: _materials(of, target))]:
        began = time.monotonic()
        try:
            saw = trial(subject)
            yield Result(name=name, passed=True, saw=f"{saw or ''} ({time.monotonic() - began:.1f} s)".strip())
        except _Skipped as reason:
            yield Result(name=name, passed=None, saw=str(reason))
        except AssertionError as error:
            yield Result(name=name, passed=False, saw=str(error))


class _Skipped(Exception):
    """The trial cannot be held here; the message says why."""


def _fit(subject: Subject) -> str:
    code, said = subject.run(
        ["python", "-m", "envcheck", "--run-dir", *SCRATCH, "--expect", f"images/{subject.variant.name}"]
    )
    _need(code == 0, said[-2000:])
    return said.strip().splitlines()[-1]


def _versions(subject: Subject) -> str:
    code, said = subject.run(["python", "-c", READ_VERSIONS])
    _need(code == 0, said[-2000:])
    seen, variant = json.loads(said.splitlines()[-1]), subject.variant
    _need(seen["torch"].partition("+")[0] == variant.torch.partition("+")[0], f"torch is {seen['torch']}")
    if variant.cuda:
        _need(variant.cuda.startswith(f"{seen['cuda']}."), f"CUDA is {seen['cuda']}, not {variant.cuda}")
        _need(_cudnn(seen["cudnn"]) == str(variant.cudnn).rpartition(".")[0], f"cuDNN is {seen['cudnn']}")
        _need(seen["nccl"] == variant.nccl, f"NCCL is {seen['nccl']}, not {variant.nccl}")
        built_for = {f"sm_{item.replace('.', '')}" for item in variant.architectures}
        _need(built_for <= set(seen["architectures"]), f"machine code for {seen['architectures']}")
    return f"torch {seen['torch']}, CUDA {seen['cuda']}, cuDNN {seen['cudnn']}, NCCL {seen['nccl']}"


def _locked(subject: Subject) -> str:
    code, said = subject.run(["python", "-c", READ_VERSIONS])
    _need(code == 0, said[-2000:])
    held = {
        name.lower().replace("_", "-").replace(".", "-"): version
        for name, version in json.loads(said)["packages"].items()
    }
    held.pop("launcher")
    pins = locks.parse(locks.read(subject.root, subject.variant.name))
    wanted = {pin.name: pin.version for pin in pins if locks.applies(pin, platform.machine())}
    differ = {name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name)}
    _need(not differ, f"not as locked: {', '.join(sorted(differ))}")
    return f"{len(held)} distributions"


def _bare(subject: Subject) -> str:
    said = subject.run(["sh", "-c", LOOK])[1].split()
    _need(said[0] == "10001", f"it runs as {said[0]}")
    _need(not said[1:], f"left over: {' '.join(said[1:])}")
    return "user 10001, no set-uid file, no pip, compiler, log or cache"


def _anyone(subject: Subject) -> str:
    code, said = subject.run(["python", "-c", "import getpass, torch; print(getpass.getuser())"], user="12345:12345")
    _need(code == 0, said[-1000:])
    return f"as 12345, called {said.strip()}"


def _trains(subject: Subject) -> str:
    code, said = subject.run([*TRAIN, "--runs-dir", "/tmp/runs"])  # noqa: S108 (a container's own)
    _need(code == 0, said[-3000:])
    return said.strip().splitlines()[-1]


def _stops(subject: Subject) -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        volumes = {folder: {"bind": "/runs", "mode": "rw"}}
        command = [*TRAIN, "--runs-dir", "/runs", "--set", "training.epochs=10000"]
        container = subject.client.containers.run(
            subject.built.digest, command, detach=True, volumes=volumes, **HARDENED
        )
        try:
            _wait(lambda: any(Path(folder).glob("*/checkpoints/step-*")), "no checkpoint within 2 minutes", container)
            began = time.monotonic()
            container.stop(timeout=30)
            took = time.monotonic() - began
            code = container.wait()["StatusCode"]
            said = container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)
        saved = sorted(path.name for path in Path(folder).glob("*/checkpoints/step-*"))
    _need(code != 137 and took <= STOPPED_WITHIN, f"it took {took:.1f} s, exit {code}: {said[-1000:]}")
    _need(bool(saved), "no checkpoint was left")
    return f"{took:.1f} s from SIGTERM, exit {code}, {saved[-1]} left"


def _small(subject: Subject) -> str:
    size, budget = subject.built.size / 1e9, subject.variant.budget
    _need(size <= budget, f"{size:.2f} GB unpacked, the budget is {budget} GB")
    return f"{size:.2f} GB unpacked, budget {budget} GB"


def _collective(subject: Subject) -> str:
    if subject.variant.driver is None or "nvidia" not in subject.client.info().get("Runtimes", {}):
        raise _Skipped("needs a CUDA variant and an engine with NVIDIA's runtime")
    gpus = [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]
    command = ["python", "-m", "envcheck", "--device", "cuda", "--select", "gpu,driver"]
    code, said = subject.run(command, device_requests=gpus)
    _need(code == 0, said[-2000:])
    return said.strip().splitlines()[-1]


def _audited(subject: Subject) -> str:
    program = shutil.which("pip-audit")
    if program is None:
        raise _Skipped("pip-audit is not installed")
    lock = locks.path(subject.root, subject.variant.name)
    done = shell.complete([program, "--disable-pip", "--require-hashes", "--strict", "-r", str(lock)])
    if "could not be audited" in done.stderr or "onnection" in done.stderr:
        raise _Skipped("the vulnerability service cannot be reached")
    _need(done.returncode == 0, (done.stdout + done.stderr)[-2000:])
    return "no known vulnerability"


def _materials(subject: Subject, target: Path) -> str:
    kept = debian.record_path(subject.root, "runtime").read_text(encoding="utf-8")
    pins = locks.parse(locks.read(subject.root, subject.variant.name))
    bill = materials.bill(subject.built, [pin for pin in pins if locks.applies(pin, platform.machine())], kept)
    target.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return f"{len(bill['components'])} components in {target}"


TRIALS: dict[str, Callable[[Subject], str]] = {
    "envcheck finds it fit, and as its pins say": _fit,
    "torch reports the pinned CUDA, cuDNN and NCCL": _versions,
    "what is installed is what the lock says": _locked,
    "nothing is left over and nothing runs as root": _bare,
    "any --user can use it": _anyone,
    "the mlp job trains on 2 processes, read-only and offline": _trains,
    "SIGTERM ends it within 5 s, with a checkpoint": _stops,
    "it keeps within its size": _small,
    "its GPUs are fit": _collective,
    "no known vulnerability": _audited,
}


def _cudnn(number: int) -> str:
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _wait(arrived: Callable[[], bool], otherwise: str, container: Any) -> None:
    deadline = time.monotonic() + 120
    while not arrived():
        container.reload()
        late = time.monotonic() > deadline or container.status == "exited"
        _need(not late, f"{otherwise}: {container.logs().decode(errors='replace')[-2000:]}")
        time.sleep(0.2)


def _need(held: bool, otherwise: str) -> None:
    if not held:
        raise AssertionError(otherwise)
