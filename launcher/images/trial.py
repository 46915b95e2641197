"""What an image must do before it is trusted: each trial runs in a container of it and says what it saw."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import EnvironmentUnfit
from launcher.images import build, debian, engine, locks, materials, versions
from launcher.images.audit import audit
from launcher.images.subject import HARDENED, SCRATCH, Skipped, Subject, need
from launcher.images.versions import Variant

if TYPE_CHECKING:
    from docker.types import DeviceRequest

STOPPED_WITHIN = 5.0
"""Seconds from SIGTERM to the end of a training container."""

TRAIN = ["launcher", "run", "jobs/mlp.yaml", "--procs-per-node", "2"]
# Who runs, and every file that should not be there.
LOOK = """
id -u
find / -xdev -perm /6000 -type f 2>/dev/null
ls -d /opt/pip* /opt/venv/bin/pip* /usr/bin/*gcc* /root/.cache /etc/apt/sources.list 2>/dev/null
find /var/log /var/cache /var/lib/apt/lists -type f ! -name lock 2>/dev/null
"""
EXTENSION = """
from torch.utils.cpp_extension import load_inline
source = "#include <torch/extension.h>\\nint64_t seven() { return at::ones({7}).sum().item<int64_t>(); }"
print(load_inline(name="seven", cpp_sources=source, functions=["seven"], build_directory="/tmp").seven())
"""
KERNEL = "__global__ void scale(float *x) { x[threadIdx.x] *= 2; }"


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one trial ended; `passed` is None for one that could not be held here."""

    name: str
    passed: bool | None
    saw: str = ""


Trial = Callable[[Subject], str]
"""Says what it saw; AssertionError when the image fails, Skipped when it cannot be held here."""


def run(root: Path, variant: Variant, target: str, report: Path | None) -> Iterator[Result]:
    """Hold every trial, one after another."""
    client = engine.connect()
    built = build.last(variant, target)
    if built is None or engine.find(client, built.digest) is None:
        raise EnvironmentUnfit(f"{variant.name} is not built here", hint=f"launcher images build {variant.name}")
    subject = Subject(root=root, variant=variant, target=target, built=built, client=client)
    bill = report or build.cache() / f"{variant.name}-{target}.cdx.json"
    written: dict[str, Trial] = {"a bill of materials says what is in it": lambda of: _materials(of, bill)}
    for name, trial in {**TRIALS[target], **written}.items():
        began = time.monotonic()
        try:
            saw = trial(subject)
            yield Result(name=name, passed=True, saw=f"{saw} ({time.monotonic() - began:.1f} s)")
        except Skipped as reason:
            yield Result(name=name, passed=None, saw=str(reason))
        except AssertionError as error:
            yield Result(name=name, passed=False, saw=str(error))


def _fit(subject: Subject) -> str:
    envcheck = ["python", "-m", "envcheck", "--run-dir", *SCRATCH]
    return _last(subject.succeed([*envcheck, "--expect", f"images/{subject.variant.name}"]))


def _versions(subject: Subject) -> str:
    seen, variant = subject.description, subject.variant
    need(seen["torch"].partition("+")[0] == variant.torch.partition("+")[0], f"torch is {seen['torch']}")
    if variant.cuda:
        need(variant.cuda.startswith(f"{seen['cuda']}."), f"CUDA is {seen['cuda']}, not {variant.cuda}")
        need(_cudnn(seen["cudnn"]) == str(variant.cudnn).rpartition(".")[0], f"cuDNN is {seen['cudnn']}")
        need(seen["nccl"] == variant.nccl, f"NCCL is {seen['nccl']}, not {variant.nccl}")
        built_for = {f"sm_{item.replace('.', '')}" for item in variant.architectures}
        need(built_for <= set(seen["architectures"]), f"machine code for {seen['architectures']}")
    return f"torch {seen['torch']}, CUDA {seen['cuda']}, cuDNN {seen['cudnn']}, NCCL {seen['nccl']}"


def _locked(subject: Subject) -> str:
    held = {name: version for name, version in subject.distributions.items() if name != "launcher"}
    texts = [locks.read(subject.root, subject.variant.name)]
    if subject.target == "devel":
        texts.append(locks.tools(subject.root, versions.read(subject.root), subject.variant))
    pins = [pin for text in texts for pin in locks.parse(text)]
    wanted = {pin.name: pin.version for pin in pins if locks.applies(pin, platform.machine())}
    differ = {name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name)}
    need(not differ, f"not as locked: {', '.join(sorted(differ))}")
    return f"{len(held)} distributions"


def _set_up(subject: Subject) -> str:
    image = subject.client.images.get(subject.built.digest)
    settings, lock = image.attrs["Config"], locks.digest(locks.read(subject.root, subject.variant.name))
    need(image.labels.get("launcher.lock") == lock, f"its label names another lock: {image.labels}")
    need(image.labels.get("org.opencontainers.image.revision") == subject.built.commit, f"its labels: {image.labels}")
    for name, wanted in {"User": "10001:10001", "StopSignal": "SIGTERM", "Entrypoint": ["/usr/bin/tini", "--"]}.items():
        need(settings[name] == wanted, f"{name} is {settings[name]}")
    health = (settings.get("Healthcheck") or {}).get("Test", [])[1:]
    need((subject.target == "runtime") == ("envcheck" in health), f"its health is asked by {health}")
    subject.succeed(health or ["true"])
    asked = ", health by envcheck" if health else ""
    return f"commit {subject.built.commit}, lock {lock[:19]}…, tini, SIGTERM{asked}"


def _bare(subject: Subject) -> str:
    said = subject.run(["sh", "-c", LOOK])[1].split()
    need(said[0] == "10001", f"it runs as {said[0]}")
    need(not said[1:], f"left over: {' '.join(said[1:])}")
    return "user 10001, no set-uid file, no pip, compiler, log or cache"


def _anyone(subject: Subject) -> str:
    said = subject.succeed(["python", "-c", "import getpass, torch; print(getpass.getuser())"], user="12345:12345")
    return f"as 12345, called {said.strip()}"


def _trains(subject: Subject) -> str:
    return _last(subject.succeed([*TRAIN, "--runs-dir", "/tmp/runs"]))  # noqa: S108 (a container's own)


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
    need(code != 137 and took <= STOPPED_WITHIN, f"it took {took:.1f} s, exit {code}: {said[-1000:]}")
    need(bool(saved), "no checkpoint was left")
    return f"{took:.1f} s from SIGTERM, exit {code}, {saved[-1]} left"


def _small(subject: Subject) -> str:
    size, variant = subject.built.size / 1e9, subject.variant
    need(size <= variant.budget, f"{size:.2f} GB unpacked, the budget is {variant.budget} GB")
    usual = versions.read(subject.root).usual
    beside = f"; {usual['image']}: {usual['gigabytes']} GB ({usual['source']})" if variant.driver else ""
    return f"{size:.2f} GB unpacked, budget {variant.budget} GB{beside}"


def _agree(subject: Subject) -> str:
    """An all-reduce: over gloo, or on the host's GPUs where the image holds CUDA."""
    command = ["python", "-m", "envcheck", "--collective", "--select", "collective", "--run-dir", *SCRATCH, "--json"]
    options: dict[str, Any] = {}
    if subject.variant.driver is None:
        command += ["--device", "cpu", "--procs-per-node", "2"]
    else:
        command += ["--device", "cuda"]
        options["device_requests"] = [_every_gpu(subject)]
    report = json.loads(subject.succeed(command, **options))
    seen = {result["id"]: result["status"] for result in report["results"]}
    need(set(seen.values()) <= {"pass", "warn"}, f"{seen}")
    return f"{len(seen)} checks of an all-reduce"


def _every_gpu(subject: Subject) -> DeviceRequest:
    from docker.types import DeviceRequest

    way = engine.gpus(subject.client)
    if way is None:
        raise Skipped("the engine offers no GPU: neither NVIDIA's runtime nor a CDI specification")
    if way == "cdi":
        return DeviceRequest(driver="cdi", device_ids=["nvidia.com/gpu=all"])
    return DeviceRequest(count=-1, capabilities=[["gpu"]])


def _extends(subject: Subject) -> str:
    said = subject.succeed(["python", "-c", EXTENSION])
    need(_last(said) == "7", said[-3000:])
    return "a C++ extension, compiled, loaded and called"


def _compiles_kernels(subject: Subject) -> str:
    if not subject.variant.devel:
        raise Skipped(f"the wheels of {subject.variant.name} hold no nvcc")
    targets = " ".join(
        f"-gencode arch=compute_{number},code=sm_{number}"
        for number in (item.replace(".", "") for item in subject.variant.architectures)
    )
    script = f"cd /tmp && echo '{KERNEL}' > scale.cu && nvcc -shared -Xcompiler -fPIC {targets} scale.cu -o scale.so"
    said = subject.succeed(["sh", "-c", f"{script} && nvcc --version"])
    return f"for {', '.join(subject.variant.architectures)}, by {_last(said)}"


def _materials(subject: Subject, target: Path) -> str:
    recorded = debian.record_path(subject.root, subject.target).read_text(encoding="utf-8")
    packages = [(name, version, architecture) for name, version, architecture in subject.description["packages"]]
    bill = materials.bill(subject.built, subject.distributions, packages, recorded)
    target.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return f"{len(bill['components'])} components in {target}"


_COMMON: dict[str, Trial] = {
    "envcheck finds it fit, and as its pins say": _fit,
    "torch reports the pinned CUDA, cuDNN and NCCL": _versions,
    "what is installed is what the lock says": _locked,
    "its labels and settings are as written": _set_up,
    "any --user can use it": _anyone,
}
TRIALS: dict[str, dict[str, Trial]] = {
    "runtime": {
        **_COMMON,
        "nothing is left over and nothing runs as root": _bare,
        "the mlp job trains on 2 processes, read-only and offline": _trains,
        "SIGTERM ends it within 5 s, with a checkpoint": _stops,
        "it keeps within its size": _small,
        "its processes agree on a sum": _agree,
        "no known vulnerability": audit,
    },
    "devel": {
        **_COMMON,
        "an extension can be built": _extends,
        "a CUDA kernel can be compiled": _compiles_kernels,
    },
}


def _last(said: str) -> str:
    return said.strip().splitlines()[-1]


def _cudnn(number: int) -> str:
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _wait(arrived: Callable[[], bool], otherwise: str, container: Any) -> None:
    deadline = time.monotonic() + 120
    while not arrived():
        container.reload()
        late = time.monotonic() > deadline or container.status == "exited"
        need(not late, f"{otherwise}: {container.logs().decode(errors='replace')[-2000:]}")
        time.sleep(0.2)
